"""Words and characters of a text as hashed features, and their weights.

A text is cut at white space into pieces. A piece yields its words and the runs of two to five
characters in it, a space at either end (what scikit-learn calls `char_wb`); the text adds its pairs
of words. Case and the values of numbers are dropped: version 2.31 and 9.0 say the same.

Every feature of a piece depends on the piece alone, and a head is linear in features, so what a
piece adds to the logits is computed once per piece and remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LENGTHS = range(2, 6)  # of runs of characters
_LONGEST_PIECE = 64  # characters; what is longer is data, not words
_REMEMBERED = 32_768  # pieces, each a row of floats; text is mostly made of few pieces

_digits = re.compile(r"\d+").sub
_words = re.compile(r"[^\W_]+").findall


def pieces(text: str) -> list[str]:
    """Cut a text at white space."""
    return _digits("0", text.lower()).split()


def piece_features(piece: str) -> list[int]:
    """Hash the words and the runs of characters of one piece to 32 bits each."""
    piece = piece[:_LONGEST_PIECE]
    padded = f" {piece} ".encode()
    features = [crc32(b"w" + word.encode()) for word in _words(piece)]
    features += [
        crc32(padded[start : start + length])
        for length in LENGTHS
        for start in range(len(padded) - length + 1)
    ]
    return features


def pair_features(parts: Sequence[str]) -> list[int]:
    """Hash each pair of words that follow one another."""
    words = [word for part in parts for word in _words(part[:_LONGEST_PIECE])]
    return [crc32(f"p{first} {second}".encode()) for first, second in pairwise(words)]


def features(text: str) -> list[int]:
    """Hash everything in a text; a feature stands there as often as it occurs."""
    parts = pieces(text)
    return [hashed for part in parts for hashed in piece_features(part)] + pair_features(parts)


class Lexical:
    """The lexical half of a head: what each feature adds to the logits.

    Attributes:
        width: number of logits.
    """

    def __init__(
        self, keys: NDArray[np.uint32], idf: NDArray[np.float32], weights: NDArray[np.float32]
    ) -> None:
        """Take over trained weights.

        Args:
            keys: shape (features,), the hashes that have weights.
            idf: shape (features,), their inverse document frequencies.
            weights: shape (features, width).
        """
        self.width = weights.shape[1]
        self._row = {key: row for row, key in enumerate(keys.tolist())}
        # One more column sums up the squared length, by which the whole is divided.
        self._terms = np.column_stack([weights * idf[:, None], idf**2]).astype(np.float32)
        self._nothing = np.zeros(self.width + 1, np.float32)
        self._piece = lru_cache(maxsize=_REMEMBERED)(self._sum_piece)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Sum up what is in each text.

        Returns:
            Array of shape (len(texts), width), float32; rows of zeros where nothing is known.
        """
        sums = np.array([self._sum_text(text) for text in texts], np.float32)
        sums = sums.reshape(len(texts), self.width + 1)
        length = np.sqrt(sums[:, -1:])
        return np.divide(sums[:, :-1], length, out=np.zeros_like(sums[:, :-1]), where=length > 0)

    def explain(self, text: str) -> list[tuple[str, NDArray[np.float32]]]:
        """Return each piece of a text, once, with what it adds to each logit."""
        length = max(float(self._sum_text(text)[-1]) ** 0.5, 1e-9)
        return [(part, self._piece(part)[:-1] / length) for part in dict.fromkeys(pieces(text))]

    def _sum_text(self, text: str) -> NDArray[np.float32]:
        parts = pieces(text)
        total = self._sum(pair_features(parts))
        for part in parts:
            total = total + self._piece(part)
        return total

    def _sum_piece(self, piece: str) -> NDArray[np.float32]:
        return self._sum(piece_features(piece))

    def _sum(self, hashes: Sequence[int]) -> NDArray[np.float32]:
        rows = [row for row in map(self._row.get, hashes) if row is not None]
        return self._terms[rows].sum(0) if rows else self._nothing
