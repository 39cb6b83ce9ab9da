"""Finds the store a command works on."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import FatalError
from ops.output import remark
from ops.session import read_settings
from vectors.manifest import list_collections


def store_path(given: Path | None) -> Path:
    """Return the store: as given, else the one of the settings."""
    return given or read_settings().store


def searched_store(given: Path | None) -> tuple[Path, list[str]]:
    """Return the store to search; where none is named and none is there, index this directory.

    Raises:
        FatalError: the store that was named holds no snapshot, or indexing failed for good.
        TransientError: the disk failed.
    """
    path = store_path(given)
    if given is None and not list_collections(path):
        from ops.building import build  # what indexing takes need not be installed to search

        remark(f"no index in {path} yet: indexing this directory into it")
        build(Path(), path)
    return existing_store(given)


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
