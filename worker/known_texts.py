"""Remembers the vectors of the texts asked for last: tasks repeat themselves."""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from vectors.embedding_cache import checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vectors.types import Encoder


class KnownTexts:
    """An `Encoder` that asks another one only for texts it does not know. Threads may share it.

    Vectors are rounded to float16 on the way in, as those of an index are, so that a text that is
    known gives the same bytes as one that is not.
    """

    def __init__(self, encoder: Encoder, most: int) -> None:
        """Know nothing yet.

        Args:
            encoder: asked for what is not known.
            most: texts that are remembered; what was not asked for the longest is forgotten.
        """
        self._encoder = encoder
        self._most = most
        self._lock = threading.Lock()
        self._known: dict[bytes, bytes] = {}  # what was asked for last stands last

    @property
    def identity(self) -> str:
        """Identity of the encoder behind."""
        return self._encoder.identity

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self._encoder.dim

    def find(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of those texts that are known, each of shape (dim,), as `encode` gives them."""
        found = {}
        with self._lock:
            for text in texts:
                row = self._known.pop(key := _key(text), None)
                if row is not None:
                    self._known[key] = row
                    found[text] = row
        return {text: _decoded(row) for text, row in found.items()}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns:
            Array of shape (len(texts), dim), float32 with float16 precision, rows L2-normalised to
            that precision.

        Raises:
            TransientError: the encoder returned something else than vectors of length 1.
            CortexError: what the encoder raises.
        """
        keys = [_key(text) for text in texts]
        with self._lock:
            rows = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
        if missing:  # not under the lock: an encoder may serve several threads at a time
            fresh = checked(self._encoder, list(missing.values()))
            rows |= {key: row.tobytes() for key, row in zip(missing, fresh, strict=True)}
        with self._lock:
            for key, row in rows.items():
                self._known.pop(key, None)
                self._known[key] = row
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        return _decoded(b"".join(rows[key] for key in keys)).reshape(len(keys), self.dim)


def _decoded(rows: bytes) -> NDArray[np.float32]:
    return np.frombuffer(rows, "<f2").astype(np.float32)


def _key(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()
