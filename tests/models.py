"""Small but real models: they are sealed, open, and decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from safetensors.numpy import save

from registry.folder import CONFIG, HEAD, METRICS, seal
from router.neural import ModelConfig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = ("development-master", "security-master", "cicd-master")
EMBEDDER = "all-MiniLM-L6-v2"
DIM, FEATURES = 8, 5


def tensors(seed: int = 0, labels: int = len(LABELS)) -> dict[str, NDArray[Any]]:
    """Weights of a head."""
    chance = np.random.default_rng(seed)
    return {
        "keys": np.arange(FEATURES, dtype=np.uint32),
        "idf": np.ones(FEATURES, np.float32),
        "lexical": chance.normal(size=(FEATURES, labels)).astype(np.float16),
        "dense": chance.normal(size=(DIM, labels)).astype(np.float32),
        "bias": np.zeros(labels, np.float32),
        "prototypes": np.eye(2, DIM, dtype=np.float32),
    }


def config(**changes: object) -> dict[str, Any]:
    """What stands in `config.json`, with changes that need not be right."""
    good = ModelConfig(labels=LABELS, embedder=EMBEDDER, dim=DIM)
    return msgspec.to_builtins(good) | changes


def write(
    folder: Path,
    seed: int = 0,
    *,
    settings: dict[str, Any] | bytes | None = None,
    head: dict[str, NDArray[Any]] | bytes | None = None,
    version: str | None = None,
) -> str:
    """Write and seal a model; returns its version."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = config(seed=seed) if settings is None else settings
    head = tensors(seed) if head is None else head
    text = settings if isinstance(settings, bytes) else msgspec.json.encode(settings)
    (folder / CONFIG).write_bytes(text)
    (folder / HEAD).write_bytes(head if isinstance(head, bytes) else save(head))
    (folder / METRICS).write_bytes(b'{"accuracy": 0.83}')
    created_at = "2026-11-22T03:00:00Z"
    return seal(
        folder, data_fingerprint=f"data {seed}", created_at=created_at, version=version
    ).version
