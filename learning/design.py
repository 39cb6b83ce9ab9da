"""The inputs of a head for a whole training set, as matrices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from router.features import features
from router.neural import rule_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from router.rules import RuleScore

    Floats = NDArray[np.float32]

LEAST_TEXTS = 2  # a feature of one text alone teaches nothing about others
EMBEDDING_SCALE = 2.0  # entries of an embedding are small; see docs/log.md for what was tried


@dataclass(frozen=True)
class Lexicon:
    """The features that have weights.

    Attributes:
        keys: shape (features,), uint32, ascending.
        idf: shape (features,), float32.
    """

    keys: NDArray[np.uint32]
    idf: Floats

    @classmethod
    def of(cls, hashed: Sequence[Sequence[int]]) -> Lexicon:
        """Choose the features of texts that occur in enough of them.

        The inverse document frequency is the smoothed one, ln((1 + n) / (1 + df)) + 1
        (scikit-learn, `TfidfTransformer`).
        """
        each_once = np.fromiter(chain.from_iterable(map(set, hashed)), np.uint32)
        keys, texts = np.unique(each_once, return_counts=True)
        kept = texts >= LEAST_TEXTS
        idf = np.log((1 + len(hashed)) / (1 + texts[kept])) + 1
        return cls(keys[kept], idf.astype(np.float32))

    def matrix(self, hashed: Sequence[Sequence[int]]) -> sparse.csr_matrix:
        """Weigh features by idf; each row as long as `router.features.Lexical` makes it."""
        lengths = np.fromiter(map(len, hashed), np.int64, len(hashed))
        flat = np.fromiter(chain.from_iterable(hashed), np.uint32, int(lengths.sum()))
        text = np.repeat(np.arange(len(hashed)), lengths)
        column = np.searchsorted(self.keys, flat)
        known = column < len(self.keys)
        known[known] = self.keys[column[known]] == flat[known]
        text, column = text[known], column[known]
        squares = np.bincount(text, self.idf[column] ** 2, minlength=len(hashed))
        values = self.idf[column] / np.sqrt(squares)[text]
        shape = (len(hashed), len(self.keys))
        return sparse.csr_matrix((values.astype(np.float32), (text, column)), shape=shape)


@dataclass(frozen=True)
class Inputs:
    """What a head sees of n texts, before any weights.

    Attributes:
        hashed: features of each text.
        embeddings: shape (n, dim), float32.
        own: embeddings by the model's own encoder, shape (n, own dim), or None.
        rules: centred log scores of the rules, shape (n, masters), float32; (n, 0) without rules.
    """

    hashed: Sequence[Sequence[int]]
    embeddings: Floats
    own: Floats | None
    rules: Floats

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        embeddings: Floats,
        own: Floats | None = None,
        scored: Sequence[RuleScore] = (),
        masters: Sequence[str] = (),
    ) -> Inputs:
        """Look at texts.

        Args:
            texts: n of them.
            embeddings: shape (n, dim), rows of length 1.
            own: by the model's own encoder, if it has one.
            scored: what the rules say of each text, if they are to be seen.
            masters: whose scores are seen.
        """
        rules = rule_features(scored, masters) if masters else np.zeros((len(texts), 0), np.float32)
        return cls([features(text) for text in texts], embeddings, own, rules)

    def __len__(self) -> int:
        return len(self.hashed)

    def take(self, rows: NDArray[np.intp]) -> Inputs:
        """Return some of the texts."""
        own = None if self.own is None else self.own[rows]
        hashed = [self.hashed[row] for row in rows]
        return Inputs(hashed, self.embeddings[rows], own, self.rules[rows])

    @property
    def compared(self) -> Floats:
        """The embeddings that likeness is measured by: the model's own, if it has them."""
        return self.embeddings if self.own is None else self.own

    @property
    def scales(self) -> Floats:
        """What each dense column is multiplied by before training, shape (dense,)."""
        embedded = self.embeddings.shape[1] + (0 if self.own is None else self.own.shape[1])
        scales = [np.full(embedded, EMBEDDING_SCALE), np.ones(self.rules.shape[1])]
        return np.concatenate(scales).astype(np.float32)

    def matrix(self, lexicon: Lexicon) -> sparse.csr_matrix:
        """Put all blocks side by side: lexical, embeddings, own embeddings, rules; scaled."""
        blocks = [self.embeddings, *([] if self.own is None else [self.own]), self.rules]
        dense = sparse.csr_matrix(np.concatenate(blocks, axis=1) * self.scales)
        return sparse.hstack([lexicon.matrix(self.hashed), dense], format="csr", dtype=np.float32)
