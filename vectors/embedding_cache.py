"""Remembers embeddings, so that text seen before is not encoded again."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import structlog

from contracts.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vectors.types import Encoder

log = structlog.get_logger()

_SCHEMA = """
CREATE TABLE IF NOT EXISTS embedding (
    key BLOB PRIMARY KEY, vector BLOB NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS embedding_used ON embedding (used);
"""
_KEYS_PER_QUERY = 500  # SQLite's oldest limit on parameters is 999
_BUSY_SECONDS = 1.0
_LENGTH_TOLERANCE = 0.01  # of a squared length; float32 needs a thousandth of it
_REFRESH_NS = 60 * 10**9  # a hit is noted once a minute at most: reading should not mean writing


class CachedEncoder:
    """An `Encoder` that asks another one only for texts it has not seen.

    Vectors are rounded to float16 on the way in, so a hit equals a miss exactly; what is not a
    vector is refused there, so that it spoils neither cache nor index. Several processes may share
    the file. Trouble with it costs hits, never an error. About 1 KB an entry.

    Attributes:
        hits: texts answered without encoding, repetitions within one call included.
        misses: texts encoded.
    """

    def __init__(self, encoder: Encoder, path: Path | None, max_entries: int = 200_000) -> None:
        """Open or create the cache.

        Args:
            encoder: answers what the cache cannot.
            path: the SQLite file; None keeps the cache in memory.
            max_entries: beyond it, what has not been used for longest goes.
        """
        self.hits = 0
        self.misses = 0
        self._encoder = encoder
        self._prompt: str = getattr(encoder, "prompt", "")  # of its side, if it has one
        self._max_entries = max_entries
        self._check_every = max(1, max_entries // 16)
        self._unchecked = self._check_every
        self._warned = False
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        with self._tolerant("open"):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connected(path)

    @property
    def identity(self) -> str:
        """Identity of the encoder behind the cache."""
        return self._encoder.identity

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self._encoder.dim

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns:
            Array of shape (len(texts), dim), float32 with float16 precision, rows L2-normalised to
            that precision.

        Raises:
            TransientError: the encoder returned something else than vectors of length 1.
            CortexError: what the encoder behind raises.
        """
        keys = [self._key(text) for text in texts]
        with self._lock:
            known = self._get(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:  # not under the lock: an encoder may serve several threads at a time
            fresh = checked(self._encoder, list(missing.values()))
            known |= {key: row.tobytes() for key, row in zip(missing, fresh, strict=True)}
        with self._lock:
            if missing:
                self._put({key: known[key] for key in missing})
            self.misses += len(missing)
            self.hits += len(keys) - len(missing)
        rows = np.frombuffer(b"".join(known[key] for key in keys), "<f2")
        return rows.reshape(len(keys), self.dim).astype(np.float32)

    def close(self) -> None:
        """Close the file; from then on every text is a miss."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _key(self, text: str) -> bytes:
        named = f"{self._encoder.identity}\0{self._prompt}{text}"
        return hashlib.sha256(named.encode(errors="surrogatepass")).digest()

    def _get(self, keys: list[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        with self._tolerant("read") as connection:
            if connection is None:
                return found
            now = time.time_ns()
            stale: list[tuple[int, bytes]] = []
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = keys[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, vector, used FROM embedding WHERE key IN ({marks})"  # noqa: S608 # question marks only
                for key, vector, used in connection.execute(query, part):
                    if len(vector) == 2 * self.dim:
                        found[key] = vector
                        if now - used > _REFRESH_NS:
                            stale.append((now, key))
            if stale:
                with connection:
                    connection.executemany("UPDATE embedding SET used = ? WHERE key = ?", stale)
        return found

    def _put(self, vectors: dict[bytes, bytes]) -> None:
        with self._tolerant("write") as connection:
            if connection is None:
                return
            now = time.time_ns()
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO embedding (key, vector, used) VALUES (?, ?, ?)",
                    ((key, vector, now) for key, vector in vectors.items()),
                )
                self._unchecked += len(vectors)
                if self._unchecked >= self._check_every:
                    self._evict(connection)
                    self._unchecked = 0

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Make room for what comes before the next check, so that the bound is never exceeded."""
        (count,) = connection.execute("SELECT count(*) FROM embedding").fetchone()
        keep = self._max_entries - self._check_every
        if count > keep:
            connection.execute(
                "DELETE FROM embedding WHERE key IN"
                " (SELECT key FROM embedding ORDER BY used LIMIT ?)",
                (count - keep,),
            )

    @contextmanager
    def _tolerant(self, doing: str) -> Iterator[sqlite3.Connection | None]:
        """Turn trouble with the cache into one line in the log, not one for every batch."""
        try:
            yield self._connection
        except (sqlite3.Error, OSError) as error:
            if not self._warned:
                log.warning("embedding cache in trouble", doing=doing, error=str(error))
            self._warned = True


def checked(encoder: Encoder, texts: Sequence[str]) -> NDArray[np.float16]:
    """Embed texts, and make sure that what comes back are vectors.

    Returns:
        Array of shape (len(texts), dim), float16, little-endian.

    Raises:
        TransientError: the encoder returned something else than vectors of length 1.
        CortexError: what the encoder raises.
    """
    vectors = np.asarray(encoder.encode(texts))
    if vectors.shape != (len(texts), encoder.dim):
        message = f"the encoder returned {vectors.shape} for {len(texts)} x {encoder.dim}"
        raise TransientError(message)
    if not unit_rows(vectors).all():
        raise TransientError("the encoder returned rows that are no vectors of length 1")
    return vectors.astype("<f2")


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows, shape (n, dim), are vectors of about length 1; NaN is near nothing."""
    lengths = np.einsum("ij,ij->i", vectors, vectors)
    return np.asarray(np.abs(lengths - 1) < _LENGTH_TOLERANCE)


def _connected(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path or ":memory:", timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # safe with WAL; a lost entry is a miss
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
