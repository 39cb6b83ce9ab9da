"""Ways to damage a file, and a watch on who is handed damaged ones."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import faiss
import numpy as np

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    Harm = Callable[[Path, random.Random], None]

_LONGEST = 5000  # bytes added to a file


def flip(path: Path, chance: random.Random) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    replace(path, bytes(content))


def truncate(path: Path, chance: random.Random) -> None:
    """Leave a beginning."""
    content = path.read_bytes()
    replace(path, content[: chance.randrange(len(content))])


def lengthen(path: Path, chance: random.Random) -> None:
    """Add something at the end."""
    replace(path, path.read_bytes() + chance.randbytes(chance.randint(1, _LONGEST)))


def empty(path: Path, _chance: random.Random) -> None:
    """Leave nothing in it."""
    replace(path, b"")


def remove(path: Path, _chance: random.Random) -> None:
    """Delete it."""
    path.unlink()


def link(path: Path, _chance: random.Random) -> None:
    """Put a link to a good copy in its place: what it points to may change after the check."""
    path.symlink_to(path.rename(path.parent.parent / f".{path.name}"))


def pipe(path: Path, _chance: random.Random) -> None:
    """Put a pipe in its place, into which nobody ever writes."""
    path.unlink()
    os.mkfifo(path)


HARMS: tuple[Harm, ...] = (*(flip,) * 6, *(truncate,) * 4, lengthen, empty, remove, link, pipe)
"""All of them, the likeliest more often."""


def replace(path: Path, content: bytes) -> None:
    """Write a file anew; who has the old one mapped keeps it."""
    path.unlink()
    path.write_bytes(content)


@contextmanager
def handed_over() -> Iterator[set[Path]]:
    """Collect the folders of which FAISS, SQLite or NumPy are given a file meanwhile."""
    folders: set[Path] = set()

    def spy(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - what the function returns
        def called(name: object, *args: object, **options: object) -> Any:  # noqa: ANN401 - as above
            plain = str(name).removeprefix("file://").partition("?")[0]
            folders.add(Path(plain).parent)
            return function(name, *args, **options)

        return called

    with (
        mock.patch.object(faiss, "read_index", spy(faiss.read_index)),
        mock.patch.object(sqlite3, "connect", spy(sqlite3.connect)),
        mock.patch.object(np, "load", spy(np.load)),
    ):
        yield folders
