"""Trees on disk, an encoder that costs nothing, and a way to compare what indexes hold."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import numpy as np
from corpus import DIM, vector

from contracts.messages import FileChange
from indexer.apply import Indexer
from indexer.commit import Ledger
from indexer.scan import Rules
from streams.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from redis import Redis

    from vectors.collection import Collection
    from vectors.types import Chunk

KEYS = Keys()


class HashEncoder:
    """Vectors from hashes, remembered by text as `CachedEncoder` does; counts what was new."""

    dim = DIM

    def __init__(self, identity: str = "hash") -> None:
        self.identity = identity
        self.misses = 0
        self.failing = False
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.failing:
            raise RuntimeError("the encoder is down")
        new = {text: vector(text) for text in texts if text not in self._known}
        self.misses += len(new)
        self._known.update(new)
        return np.stack([self._known[text] for text in texts])


def write(root: Path, path: str, content: str | bytes = "some text\n") -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode())


def source(name: str, functions: int = 3) -> str:
    """A Python file with a chunk for each function."""
    body = "\n".join(f"    step_{line} = compute({line}, of={name!r})" for line in range(16))
    return "\n\n".join(f"def {name}_{number}():\n{body}\n" for number in range(functions))


def git(root: Path, *arguments: str) -> None:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(root)}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example.org"}
    subprocess.run(["git", *arguments], cwd=root, env=environment, check=True, capture_output=True)


def open_indexer(
    client: Redis, root: Path, store: Path, encoder: HashEncoder | None = None
) -> Indexer:
    encoder = encoder or HashEncoder()
    return Indexer(root, Rules(), Ledger(client, KEYS, store, "code", encoder), encoder)


def put(*paths: str) -> list[FileChange]:
    return [FileChange(op="put", path=path) for path in paths]


def contents(collection: Collection) -> dict[str, list[tuple[Chunk, bytes]]]:
    """Everything that can be found, by path: chunks in order, each with its vector."""
    found: dict[str, list[tuple[Chunk, bytes]]] = {}
    for segment in collection.freeze().segments:
        ids = np.flatnonzero(segment.alive)
        rows = zip(
            segment.columns.file[ids],
            segment.chunks(ids.tolist()),
            segment.vectors(ids).astype("<f2"),
            strict=True,
        )
        for file, chunk, row in rows:
            found.setdefault(segment.path(int(file)), []).append((chunk, row.tobytes()))
    return {
        path: sorted(chunks, key=lambda pair: (pair[0].start_line, pair[0].text))
        for path, chunks in found.items()
    }
