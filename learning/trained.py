"""What training ends in, and how it becomes a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from safetensors.numpy import save

from registry.folder import CONFIG, HEAD, METRICS, seal
from router.neural import NeuralModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from router.neural import ModelConfig


@dataclass(frozen=True)
class Trained:
    """A model that is not written yet.

    Attributes:
        tensors: as `router.neural.NeuralModel.build` wants them.
        metrics: what was measured on held-back examples.
        data_fingerprint: of the examples it was trained on.
        beside: what else belongs in the folder, by name.
    """

    config: ModelConfig
    tensors: Mapping[str, NDArray[np.generic]]
    metrics: Mapping[str, float]
    data_fingerprint: str
    beside: Mapping[str, bytes] = field(default_factory=dict)

    def model(self, version: str = "unwritten") -> NeuralModel:
        """Use it as it is."""
        return NeuralModel.build(*self._files(), version)

    def write(self, folder: Path) -> str:
        """Write and seal it; returns its version.

        Args:
            folder: does not exist yet, or is empty.

        Raises:
            OSError: the disk failed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        config, head = self._files()
        (folder / CONFIG).write_bytes(msgspec.json.format(config))
        (folder / HEAD).write_bytes(head)
        metrics = msgspec.json.format(msgspec.json.encode(self.metrics))
        (folder / METRICS).write_bytes(metrics)
        for name, content in self.beside.items():
            (folder / name).write_bytes(content)
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return seal(folder, data_fingerprint=self.data_fingerprint, created_at=now).version

    def _files(self) -> tuple[bytes, bytes]:
        tensors = {name: np.ascontiguousarray(each) for name, each in self.tensors.items()}
        return msgspec.json.encode(self.config), save(tensors)
