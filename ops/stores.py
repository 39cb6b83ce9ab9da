"""Finds the store a command works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import FatalError
from ops.session import read_settings
from vectors.snapshot import list_collections

if TYPE_CHECKING:
    from pathlib import Path


def store_path(given: Path | None) -> Path:
    """Return the store: as given, else `VECTORSTORE_PATH`, else `.cortex/store`."""
    return given or read_settings().store


def existing_store(given: Path | None) -> tuple[Path, list[str]]:
    """Return a store and the names of its collections.

    Raises:
        FatalError: there is no snapshot in it.
    """
    path = store_path(given)
    names = list_collections(path)
    if not names:
        raise FatalError(
            f"no index in {path}; build one with: cortex index build --source . --output {path}"
        )
    return path, names
