"""What a router's confidence is worth for leaving lines to somebody else.

Selective classification (Geifman & El-Yaniv 2017, "Selective Classification for Deep Neural
Networks"): at coverage c, only the share c of which it is surest is answered. Out-of-scope
detection: certainty should be lower for what belongs to no label. Lines of equal confidence are
averaged over their orders, so that the order in a file does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Flags = NDArray[np.bool_]


class RiskCoverage(NamedTuple):
    """Arrays of shape (n,), by rising coverage.

    Attributes:
        coverage: 1/n, 2/n, ... 1.
        risk: share of wrong answers among those given.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]


class Roc(NamedTuple):
    """Arrays of one length, by falling threshold, from (0, 0) to (1, 1).

    Attributes:
        false_positives: share of negatives at or above the threshold.
        true_positives: share of positives at or above it.
    """

    false_positives: NDArray[np.float64]
    true_positives: NDArray[np.float64]


def risk_coverage(confidence: Floats, right: Flags) -> RiskCoverage:
    """Return the risk at every coverage.

    Args:
        confidence: shape (n,), n >= 1; any scale.
        right: shape (n,), whether the answer is right.
    """
    _, group, count = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, ~right) / count
    given = np.arange(1, len(right) + 1)
    return RiskCoverage(given / len(right), np.cumsum(np.repeat(wrong, count)) / given)


def aurc(curve: RiskCoverage) -> float:
    """Area under the risk-coverage curve: the mean risk over all coverages; lower is better."""
    return float(curve.risk.mean())


def accuracy_at(curve: RiskCoverage, coverage: float) -> float:
    """Accuracy on the surest lines, as few as make up the coverage.

    Args:
        curve: of n >= 1 lines.
        coverage: above 0, at most 1.
    """
    at = np.searchsorted(curve.coverage, coverage - 1e-9)  # 0.9 of 10 lines is 9, not 10
    return float(1.0 - curve.risk[at])


def auroc(positives: Floats, negatives: Floats) -> float:
    """Probability that a positive scores above a negative, a tie being half (Mann & Whitney 1947).

    Args:
        positives: shape (p,), p >= 1, scores.
        negatives: shape (n,), n >= 1, scores.
    """
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left").astype(np.int64)
    not_above = np.searchsorted(ordered, positives, side="right")
    return float((below + not_above).sum() / (2 * len(positives) * len(negatives)))


def roc(positives: Floats, negatives: Floats) -> Roc:
    """Return the receiver operating characteristic. Arguments as of `auroc`."""
    thresholds = np.unique(np.concatenate([positives, negatives]))[::-1]
    rates = [
        1.0 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)
        for scores in (negatives, positives)
    ]
    return Roc(*(np.concatenate([[0.0], each]) for each in rates))
