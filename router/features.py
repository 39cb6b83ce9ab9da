"""Words and characters of a text as hashed features, and their weights.

A text is cut at white space into pieces. A piece yields its words and the runs of two to five
characters in it, a space at either end (what scikit-learn calls `char_wb`); the text adds its pairs
of words. Case and the values of numbers are dropped: version 2.31 and 9.0 say the same.

Every feature of a piece depends on the piece alone, and a head is linear in features, so what a
piece adds to the logits is computed once per piece and remembered.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

LENGTHS = range(2, 6)  # of runs of characters
_LONGEST_PIECE = 64  # characters; what is longer is data, not words
_REMEMBERED = 32_768  # pieces, each a row of floats; text is mostly made of few pieces
_LEAST_SQUARE = 1e-30  # of a length, so that nothing known is divided by something

_digits = re.compile(r"\d+").sub
_words = re.compile(r"[^\W_]+").findall

# A word, and the hash of a pair that it opens, up to where the second word begins.
Word = tuple[bytes, int]


class _Piece(NamedTuple):
    """What there is to know of a piece.

    Attributes:
        adds: shape (width + 1,), float32: to the logits, and to the squared length.
    """

    adds: NDArray[np.float32]
    words: list[Word]


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


def words(piece: str) -> list[Word]:
    """Return the words of a piece, each ready to be hashed in a pair."""
    found = [word.encode() for word in _words(piece[:_LONGEST_PIECE])]
    return [(word, crc32(b"p%b " % word)) for word in found]


def pair_features(in_order: Iterable[Word]) -> list[int]:
    """Hash each pair of words that follow one another."""
    return [crc32(second, opening) for (_, opening), (second, _) in pairwise(in_order)]


def features(text: str) -> list[int]:
    """Hash everything in a text; a feature stands there as often as it occurs."""
    parts = pieces(text)
    hashed = [each for part in parts for each in piece_features(part)]
    return hashed + pair_features(word for part in parts for word in words(part))


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
        self._row = {key: row for row, key in enumerate(keys.tolist(), 1)}
        # One more column sums up the squared length, by which the whole is divided.
        self._terms = np.zeros((1 + len(weights), self.width + 1), np.float32)
        self._terms[1:, :-1] = weights * idf[:, None]
        self._terms[1:, -1] = idf**2
        # What every text begins with: nothing, of a length that can be divided by.
        self._terms[0, -1] = _LEAST_SQUARE
        self._piece = lru_cache(maxsize=_REMEMBERED)(self._read_piece)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Sum up what is in each text.

        Returns:
            Array of shape (len(texts), width), float32; rows of zeros where nothing is known.
        """
        sums = self._sum_texts(texts)
        return np.asarray(sums[:, :-1] / np.sqrt(sums[:, -1:]), np.float32)

    def explain(self, text: str) -> list[tuple[str, NDArray[np.float32]]]:
        """Return each piece of a text, once, with what it adds to each logit."""
        length = math.sqrt(self._sum_texts([text])[0, -1])
        return [
            (part, self._piece(part).adds[:-1] / length) for part in dict.fromkeys(pieces(text))
        ]

    def _sum_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # All texts are summed at once: calls of numpy cost more here than its arithmetic.
        rows: list[NDArray[np.float32]] = [self._terms[0]]  # for there may be no text
        starts = []
        for text in texts:
            starts.append(len(rows))
            rows.append(self._terms[0])
            known = [*map(self._piece, pieces(text))]
            rows += [each.adds for each in known]
            pairs = pair_features([word for each in known for word in each.words])
            rows += [self._terms[row] for row in self._rows(pairs)]
        table = np.concatenate(rows).reshape(-1, self.width + 1)
        return np.add.reduceat(table, np.array(starts, np.intp), axis=0)

    def _read_piece(self, piece: str) -> _Piece:
        rows = np.array(self._rows(piece_features(piece)), np.intp)
        return _Piece(np.add.reduce(self._terms.take(rows, axis=0)), words(piece))

    def _rows(self, hashes: Iterable[int]) -> list[int]:
        return [*filter(None, map(self._row.get, hashes))]
