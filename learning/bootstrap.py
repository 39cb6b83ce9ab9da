"""Intervals for measured figures: the percentile bootstrap (Efron & Tibshirani 1993, chapter 13).

Accuracy and F1 depend on lines only through how often each combination of answers occurs, so
drawing n lines with replacement is drawing those counts from a multinomial distribution: the same
distribution, and thousands of resamples in a few milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.integer]

RESAMPLES = 2_000  # the ends of a 95 % interval then vary by a thirtieth of its width
LEVEL = 0.95


class Interval(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


class Resamples(NamedTuple):
    """Answers of one or more routers to the same n lines, drawn again and again.

    Attributes:
        cells: shape (cells, 1 + routers): the combinations that occur, the true label first.
        counts: shape (resamples, cells): how often each was drawn; rows sum to n.
    """

    cells: NDArray[np.int64]
    counts: NDArray[np.int64]


def resample(
    truth: Labels, *answers: Labels, seed: int = 0, resamples: int = RESAMPLES
) -> Resamples:
    """Draw lines with replacement, the answers to one line staying together.

    Args:
        truth: shape (n,), n >= 1, labels.
        answers: each of shape (n,), the label that a router gave.
        seed: the same seed draws the same.
        resamples: how often.
    """
    lines = np.stack([truth, *answers], axis=1).astype(np.int64)
    cells, count = np.unique(lines, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(truth), count / len(truth), resamples)
    return Resamples(cells, drawn)


def accuracies(drawn: Resamples, router: int = 0) -> NDArray[np.float64]:
    """Return the accuracy of a router in each resample, shape (resamples,)."""
    truth, answer = drawn.cells[:, 0], drawn.cells[:, 1 + router]
    shares: NDArray[np.float64] = drawn.counts @ (truth == answer) / drawn.counts.sum(1)
    return shares


def macro_f1s(drawn: Resamples, router: int = 0) -> NDArray[np.float64]:
    """Return the macro-F1 of a router in each resample, over the labels that occur in it."""
    truth, answer = drawn.cells[:, 0], drawn.cells[:, 1 + router]
    labels = np.arange(drawn.cells.max() + 1)
    is_truth, is_answer = truth[:, None] == labels, answer[:, None] == labels
    # Floats, because numpy multiplies matrices of integers without BLAS.
    counts = drawn.counts.astype(np.float64)
    hits = counts @ (is_truth & is_answer).astype(np.float64)
    either = counts @ (is_truth.astype(np.float64) + is_answer)
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    means: NDArray[np.float64] = f1.sum(1) / (either > 0).sum(1)
    return means


def interval(values: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """Return the percentiles between which the share `level` of resampled values lies."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
