"""How good a router's answers are, and how far its confidence is to be believed.

Labels are positions 0 to labels - 1. Definitions are scikit-learn's where it has them; its names
are kept. Nothing here is random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Labels = NDArray[np.integer]
    Flags = NDArray[np.bool_]

BINS = 15  # what Guo et al. 2017 and most papers since report with

_LEAST = float(np.finfo(np.float64).eps)  # as scikit-learn: a probability of 0 costs 36 nats


class PerLabel(NamedTuple):
    """Arrays of shape (labels,); 0 where nothing was predicted, or nothing was there to find."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


class Bins(NamedTuple):
    """Arrays of shape (bins that hold something,), by rising confidence."""

    size: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def confusion_matrix(truth: Labels, predicted: Labels, labels: int) -> NDArray[np.int64]:
    """Count what was taken for what.

    Args:
        truth: shape (n,).
        predicted: shape (n,).
        labels: how many there are.

    Returns:
        Array of shape (labels, labels): true labels are rows, predicted ones columns.
    """
    cells = np.bincount(truth * labels + predicted, minlength=labels * labels)
    return cells.reshape(labels, labels).astype(np.int64)


def per_label(confusion: NDArray[np.int64]) -> PerLabel:
    """Precision, recall, F1 and support of each label.

    Args:
        confusion: shape (labels, labels), as of `confusion_matrix`.
    """
    hits = np.diagonal(confusion)
    support, predicted = confusion.sum(1), confusion.sum(0)
    return PerLabel(
        _share(hits, predicted),
        _share(hits, support),
        _share(2 * hits, support + predicted),
        support,
    )


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean F1 of the labels that occur, as truth or as answer; 0 where none does."""
    occurs = (confusion.sum(0) + confusion.sum(1)) > 0
    return float(per_label(confusion).f1[occurs].mean()) if occurs.any() else 0.0


def reliability(confidence: Floats, right: Flags, bins: int = BINS) -> Bins:
    """Mean confidence and accuracy in bins of equal width, (0, 1/bins] to (1 - 1/bins, 1].

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.

    Args:
        confidence: shape (n,), 0-1, of the label that was answered.
        right: shape (n,), whether that was the true one.
        bins: how many.
    """
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return _binned(confidence, right, np.searchsorted(edges, confidence, side="left"), bins)


def reliability_by_rank(confidence: Floats, right: Flags, bins: int = BINS) -> Bins:
    """Mean confidence and accuracy in bins that hold equally many, as near as n allows.

    Where confidences are much alike, bins of equal width leave most bins all but empty; these do
    not (Nguyen & O'Connor 2015, "Posterior calibration and exploratory analysis"). What is equal
    falls in one bin, so that the order of lines does not matter. Arguments as of `reliability`.
    """
    ordered = np.sort(confidence)
    first = np.searchsorted(ordered, confidence, side="left")
    return _binned(confidence, right, first * bins // max(len(confidence), 1), bins)


def calibration_error(bins: Bins) -> float:
    """Mean |accuracy - confidence|, weighted by what each bin holds (Guo et al. 2017, equation 5).

    Returns:
        0-1; 0 where the bins hold nothing.
    """
    gaps = np.abs(bins.accuracy - bins.confidence)
    return float((gaps * bins.size).sum() / bins.size.sum()) if len(bins.size) else 0.0


def log_loss(truth: Labels, probabilities: Floats) -> float:
    """Mean of -ln p(true label), in nats.

    Args:
        truth: shape (n,), n >= 1.
        probabilities: shape (n, labels), rows sum to 1.
    """
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(chosen, _LEAST, 1.0)).mean())


def brier_score(truth: Labels, probabilities: Floats) -> float:
    """Mean squared distance to the truth over all labels, 0-2 (Brier 1950).

    Args:
        truth: shape (n,), n >= 1.
        probabilities: shape (n, labels).
    """
    away = probabilities.astype(np.float64)
    away[np.arange(len(truth)), truth] -= 1.0
    return float((away**2).sum(1).mean())


def _binned(confidence: Floats, right: Flags, which: Labels, bins: int) -> Bins:
    count = np.bincount(which, minlength=bins)
    held = count > 0
    summed = [np.bincount(which, values, bins)[held] for values in (confidence, right)]
    return Bins(count[held].astype(np.int64), summed[0] / count[held], summed[1] / count[held])


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
