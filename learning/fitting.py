"""Fits the router's head: one over everything and one over words alone, put together as one.

The two err differently, and averaging their logits is worth about a point of accuracy on sources
neither has seen (docs/log.md). Both being linear, the average is a linear head again: it costs
nothing when it decides.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.cluster import KMeans

from learning.calibrate import fit_temperature, log_loss
from learning.design import Lexicon
from learning.head import Head, fit_head, logits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from learning.design import Inputs

    Floats = NDArray[np.float32]
    Rows = NDArray[np.intp]

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(10))
RULES = (0.0, 0.1, 0.2, 0.4, 0.8)
_PROTOTYPES = 512  # over all labels; comparing with them must not cost more than the head
_PER_LABEL = 8
_SMOOTHING = 0.3  # texts added to each count; docs/log.md has what others bring
_LEAST_EVIDENCE = 0.1  # what speaks for no label keeps a little weight


class Known(NamedTuple):
    """Examples as arrays.

    Attributes:
        inputs: what a head sees of n texts.
        targets: shape (n,), index of each label.
        weights: shape (n,), float32, how much each counts.
        labels: how many labels there are.
    """

    inputs: Inputs
    targets: Rows
    weights: Floats
    labels: int

    def take(self, rows: Rows) -> Known:
        """Return some of them."""
        return Known(self.inputs.take(rows), self.targets[rows], self.weights[rows], self.labels)


class Recipe(NamedTuple):
    """What is chosen on held-back examples.

    Attributes:
        joint: strength (`learning.head.fit_head`) of the head over all inputs.
        lexical: strength of the head over words and characters alone.
        share: of the lexical head's logits in the whole, 0-1.
        rules: how often the log scores of the rules are added to the logits, on top of what the
            joint head makes of them.
        weighed: whether features of words are scaled by their `evidence`.
    """

    joint: float
    lexical: float
    share: float
    rules: float = 0.0
    weighed: bool = True


class Halves(NamedTuple):
    """Logits of both heads on the same n texts, each (n, labels), and the rules' (or (n, 0))."""

    joint: Floats
    lexical: Floats
    rules: Floats

    def mixed(self, share: float, rules: float = 0.0) -> Floats:
        """Return the weighted mean of both heads, plus the rules' log scores so many times."""
        mixed = (1 - share) * self.joint + share * self.lexical
        if self.rules.size:
            mixed += rules * self.rules
        return mixed.astype(np.float32)


class Fitted(NamedTuple):
    """Both heads, trained on the same examples, and what else a model holds.

    Attributes:
        prototypes: shape (prototypes, dim), float32, rows of length 1.
    """

    lexicon: Lexicon
    joint: Head
    lexical: Head
    prototypes: Floats

    def halves(self, inputs: Inputs) -> Halves:
        """Return the logits of both heads on other texts."""
        matrix = inputs.matrix(self.lexicon)
        words = matrix[:, : len(self.lexicon.keys)]
        both = logits_of(self.joint, matrix), logits_of(self.lexical, words)
        return Halves(*both, inputs.rules)

    def similarity(self, inputs: Inputs) -> Floats:
        """Return the cosine of each text to the nearest prototype, shape (n,)."""
        nearest: Floats = (inputs.compared @ self.prototypes.T).max(1, initial=-1.0)
        return nearest

    def tensors(
        self, scales: Floats, share: float, rules: float = 0.0
    ) -> dict[str, NDArray[np.generic]]:
        """Put all together, as `router.neural.NeuralModel.build` wants it.

        Args:
            scales: of the dense inputs it was trained on (`learning.design.Inputs.scales`).
            share: of the lexical head.
            rules: how often the rules' log scores are added.
        """
        words, dense = np.split(self.joint.weights, [len(self.lexicon.keys)])
        dense = dense * scales[:, None] * (1 - share)
        if rules:
            dense[-dense.shape[1] :] += rules * np.eye(dense.shape[1])
        words = (1 - share) * words + share * self.lexical.weights
        bias = (1 - share) * self.joint.bias + share * self.lexical.bias
        return {
            "keys": self.lexicon.keys,
            "idf": self.lexicon.idf,
            "lexical": words.astype(np.float16),
            "dense": dense.astype(np.float32),
            "bias": bias.astype(np.float32),
            "prototypes": self.prototypes,
        }


def fit(known: Known, joint: float, lexical: float, *, weighed: bool = True) -> Fitted:
    """Train both heads with given strengths; the rest is as in `Recipe`."""
    lexicon, matrix = _matrix(known.inputs)
    words = len(lexicon.keys)
    both = _Problem.of(known, matrix, words, weighed=weighed)
    alone = _Problem.of(known, matrix[:, :words], words, weighed=weighed)
    return Fitted(lexicon, both.head(joint), alone.head(lexical), _prototypes(known))


def evidence(features: sparse.csr_matrix, known: Known) -> Floats:
    """Return how much each feature speaks for or against each label, shape (features, labels).

    It is the size of the log-count ratio of naive Bayes: how much more frequent a feature is in
    texts of a label than in others. A linear model of which it scales the inputs is more often
    right about short texts than either alone (Wang & Manning 2012, "Baselines and Bigrams", NBSVM).
    The whole is scaled to a root mean square of 1, so that strengths keep their meaning.

    Args:
        features: shape (n, features).
        known: the n examples.
    """
    own = np.zeros((len(known.targets), known.labels), np.float32)
    own[np.arange(len(own)), known.targets] = known.weights
    among = features.astype(bool).T @ own
    texts = own.sum(0)
    elsewhere = among.sum(1, keepdims=True) - among
    share = (among + _SMOOTHING) / (texts + 2 * _SMOOTHING)
    other = (elsewhere + _SMOOTHING) / (texts.sum() - texts + 2 * _SMOOTHING)
    ratio = np.abs(np.log(share / other)) + _LEAST_EVIDENCE
    scaled: Floats = ratio / np.sqrt(np.square(ratio).sum() / max(1, ratio.size))
    return scaled.astype(np.float32)


def choose_strengths(folds: Sequence[Sequence[Known]]) -> tuple[float, float, bool]:
    """Return `joint`, `lexical` and `weighed` of least log loss on held-back examples.

    Args:
        folds: pairs of what to learn from and what is held back.
    """
    found: list[tuple[float, float, float, bool]] = []
    for weighed in (True, False):
        joint: list[_Fold] = []
        lexical: list[_Fold] = []
        for learned, held in folds:
            lexicon, matrix = _matrix(learned.inputs)
            tried = held.inputs.matrix(lexicon)
            words = len(lexicon.keys)
            both = _Problem.of(learned, matrix, words, weighed=weighed)
            alone = _Problem.of(learned, matrix[:, :words], words, weighed=weighed)
            joint.append(_Fold(both, held, tried))
            lexical.append(_Fold(alone, held, tried[:, :words]))
        (one, first), (two, second) = _best_strength(joint), _best_strength(lexical)
        found.append((one + two, first, second, weighed))
    return min(found)[1:]


def choose_mix(halves: Sequence[Halves], held: Sequence[Known]) -> tuple[float, float]:
    """Return the shares of lexical head and rules with the least log loss on held-back examples."""
    targets = np.concatenate([each.targets for each in held])
    weights = np.concatenate([each.weights for each in held])

    def loss(mix: tuple[float, float]) -> float:
        logits = np.concatenate([each.mixed(*mix) for each in halves])
        temperature = fit_temperature(logits, targets, weights)
        return log_loss(logits, targets, weights, temperature)

    rules = RULES if halves[0].rules.size else RULES[:1]
    return min(product(SHARES, rules), key=loss)


class _Problem(NamedTuple):
    """Examples that a head is to be fitted to."""

    known: Known
    matrix: sparse.csr_matrix
    scales: Floats

    @classmethod
    def of(cls, known: Known, matrix: sparse.csr_matrix, words: int, *, weighed: bool) -> _Problem:
        """Put a problem; the first columns, so many, are features of words."""
        scales = np.ones((matrix.shape[1], known.labels), np.float32)
        if weighed:
            scales[:words] = evidence(matrix[:, :words], known)
        return cls(known, matrix, scales)

    def head(self, strength: float, start: Head | None = None) -> Head:
        targets, weights, labels = self.known[1:]
        return fit_head(self.matrix, targets, weights, labels, strength, start, self.scales)


class _Fold(NamedTuple):
    problem: _Problem
    held: Known
    tried: sparse.csr_matrix

    def loss(self, strength: float, start: Head | None) -> tuple[float, Head]:
        head = self.problem.head(strength, start)
        scored = (logits_of(head, self.tried), self.held.targets, self.held.weights)
        return log_loss(*scored, fit_temperature(*scored)), head


def _best_strength(folds: Sequence[_Fold]) -> tuple[float, float]:
    """Go from strong to weak regularisation for as long as it helps; returns loss and strength."""
    best, least = STRENGTHS[0], float("inf")
    heads: list[Head | None] = [None] * len(folds)
    for strength in STRENGTHS:
        tried = [each.loss(strength, head) for each, head in zip(folds, heads, strict=True)]
        loss, heads = sum(found for found, _ in tried), [head for _, head in tried]
        if loss > least:
            break
        best, least = strength, loss
    return least, best


def _matrix(inputs: Inputs) -> tuple[Lexicon, sparse.csr_matrix]:
    lexicon = Lexicon.of(inputs.hashed)
    return lexicon, inputs.matrix(lexicon)


def _prototypes(known: Known) -> Floats:
    """Centres of the texts of each label (k-means), scaled to length 1."""
    per_label = max(1, min(_PER_LABEL, _PROTOTYPES // known.labels))
    compared = known.inputs.compared
    centres = [
        KMeans(min(per_label, len(of_label)), n_init=1, random_state=0).fit(of_label)
        for label in range(known.labels)
        if len(of_label := compared[known.targets == label])
    ]
    found = np.concatenate([each.cluster_centers_ for each in centres])
    unit: Floats = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit
