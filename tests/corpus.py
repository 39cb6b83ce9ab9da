"""Small deterministic code bases for tests of the vector store; no encoder needed."""

from __future__ import annotations

import hashlib

import numpy as np

from vectors.types import Chunk, FileDelta

DIM = 16
WORDS = ("session", "login", "token", "parse", "header", "socket", "retry", "cache", "matrix")
WORDS += ("index", "merge", "route", "render", "style", "button", "schema", "migrate", "deploy")


def vector(text: str, dim: int = DIM) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A unit vector that depends on the text only, exact in float16."""
    seed = int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:8], "little")
    drawn = np.random.default_rng(seed).standard_normal(dim)
    return (drawn / np.linalg.norm(drawn)).astype(np.float16).astype(np.float32)


def put(path: str, version: int, *texts: str, dim: int = DIM) -> FileDelta:
    """The state of a file with one chunk for each text."""
    chunks = [
        Chunk(start_line=1 + 10 * at, end_line=10 + 10 * at, kind="code", text=text)
        for at, text in enumerate(texts)
    ]
    vectors = b"".join(vector(text, dim).astype("<f2").tobytes() for text in texts)
    content_hash = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    return FileDelta(
        path=path, version=version, content_hash=content_hash, chunks=chunks, vectors=vectors
    )


def removal(path: str, version: int) -> FileDelta:
    """The removal of a file."""
    return FileDelta(path=path, version=version, content_hash="", chunks=[], vectors=b"")
