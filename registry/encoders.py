"""A model's own encoder: exported when the model is written, opened with it by workers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from registry.folder import ENCODER, EXPORT, BadModelError
from vectors import exported
from vectors.encoder import ensure_exported, open_encoder
from vectors.model_source import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vectors.types import Encoder


def export_encoder(folder: Path) -> None:
    """Put an int8 export beside the fine-tuned encoder of a model that is about to be sealed.

    Raises:
        FatalError: the export failed, or is not faithful to the encoder.
    """
    with TemporaryDirectory(prefix=".export-", dir=folder) as drafts:
        made = ensure_exported(resolve(str(folder / ENCODER)), Path(drafts))
        made.rename(folder / EXPORT)


class OwnEncoder:
    """The encoder in a model's folder, which must have been verified; opened when first used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def opened(self) -> Encoder:
        """The encoder itself; of an older program's model it is exported anew, into the cache.

        Raises:
            FatalError: packages are missing, or it cannot be opened or exported.
        """
        from vectors.openvino_encoder import open_export  # noqa: PLC0415 # heavy

        export = self._folder / EXPORT
        if export.is_dir() and _recipe(export) == exported.recipe():
            return open_export(export)
        return open_encoder(str(self._folder / ENCODER))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts; see `vectors.types.Encoder.encode`."""
        return self.opened.encode(texts)


def _recipe(export: Path) -> str:
    try:
        return exported.read_manifest(export).recipe
    except (OSError, ValueError) as error:
        raise BadModelError(f"{export} is no export of an encoder: {error}") from error
