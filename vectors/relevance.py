"""Whether a text is about a collection at all. Pure: from raw signals to yes or no.

Signals that are divided by their best value, as ranking does, cannot say that nothing fits: the
best of anything is 1. So this looks at raw ones: how near and how well covered the five best
candidates are, among the files and in the history of past work that goes with them. The more
chunks there are, the better fits what has nothing to do with them, as the largest of n random
values grows with ln n; a text must fit better in a large collection than in a small one.

Constants are from `python -m bench.floor REPO... --foreign FILE... --fit`, 22 November 2026:
logistic regressions over the packaged encoder, on eleven repositories of 78 to 2,273 files, of
commit subjects that retrieval finds the files of against questions of customers of a bank
(Banking77) and to a voice assistant (CLINC150). Each keeps 99.8 % of these subjects. Another
encoder's cosines have another scale: where they are higher, less is turned away.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vectors.groups import Groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BEST = 5
_MOST = 2.0  # cosine and coverage are 1 at most
_GROWN = 200  # pieces of past work; of fewer, the silence says nothing
_TELLING = (
    0.55  # strength in such a history; 99 % of unrelated questions have less even in a grown one
)


class Evidence(NamedTuple):
    """How well n texts fit a collection.

    Attributes:
        strength: shape (n,), mean of cosine plus coverage over the five best candidates, 0-2.
        size: shape (n,) or one for all, chunks in the collection, candidates or not.
    """

    strength: NDArray[np.float64]
    size: NDArray[np.int64] | int


class LogOdds(NamedTuple):
    """Log odds that a text is about a collection, as a weighted sum of what was found.

    Attributes:
        least: below it, the text is about something else.
        bias: what is added.
        weights: of the four columns of `signals`.
    """

    least: float
    bias: float
    weights: tuple[float, ...]

    def reached(self, found: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the sum is as large as it must be, for each row of `signals`."""
        return np.asarray(found @ np.array(self.weights) + self.bias >= self.least)


BOTH = LogOdds(-2.6, -2.53, (7.62, -0.888, 25.8, -0.733))
FILES = LogOdds(-2.8, 1.31, (25.0, -1.55, 0.0, 0.0))


def evidence(
    text: NDArray[np.int64],
    dense: NDArray[np.float32],
    coverage: NDArray[np.float32],
    *,
    texts: int,
    size: int,
) -> Evidence:
    """Sum up what was found for several texts.

    Args:
        text: shape (n,), whose candidate it is, ascending from 0.
        dense: shape (n,), cosines.
        coverage: shape (n,), lexical scores as shares of the best possible one.
        texts: how many there are.
        size: chunks in the collection.
    """
    strength = np.zeros(texts)
    if not len(text):
        return Evidence(strength, size)
    # What is no number fits: who ranks it finds out, and it must not look like nothing.
    fit = np.fmax(np.fmin(dense + coverage, np.float32(_MOST)), np.float32(-_MOST))
    groups = Groups.of(text)
    laid = groups.table(fit, -np.inf)
    if laid.shape[1] > _BEST:
        laid = np.partition(laid, -_BEST, axis=1)[:, -_BEST:]
    sums = laid.sum(axis=1, dtype=np.float64, where=laid > -np.inf)
    strength[text[groups.starts]] = sums / np.minimum(groups.sizes, _BEST)
    return Evidence(strength, size)


def signals(files: Evidence, history: Evidence) -> NDArray[np.float64]:
    """What a decision rests on.

    Args:
        files: what was found among the files.
        history: what was found in the history of past work on them; of size 0 without one.

    Returns:
        Shape (n, 4): strength among the files and ln of their chunks, and the same of the history.
    """
    found = np.zeros((len(files.strength), 4))
    for at, each in ((0, files), (2, history)):
        found[:, at] = each.strength
        found[:, at + 1] = np.log(np.maximum(each.size, 1))
    return found


def are_relevant(found: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether texts are about a collection.

    Args:
        found: what `signals` gives, shape (n, 4).

    Returns:
        Shape (n,).
    """
    grown = found[:, 3] >= math.log(_GROWN)
    either = FILES.reached(found) | (found[:, 2] >= _TELLING)
    return np.where(grown, BOTH.reached(found), either)
