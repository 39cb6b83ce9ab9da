"""Intervals for a mean that has to be believed: two, for light tails and for any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 40  # of bisection: finer than float32


def student(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Student's interval, with as many degrees of freedom as values really decide its width.

    Where a few heavy values make up the variance, it is known no better than from a few: the
    degrees of freedom are (sum v)^2 / sum v^2 over squared deviations v, the effective number of
    terms as Satterthwaite (1946) approximates it. Right as that number grows; it cannot know of
    heavy values of which none was seen.

    Args:
        values: shape (n,), n >= 2, independent.
        confidence: 0-1, for example 0.95.
    """
    squares = (values - values.mean()) ** 2
    total = squares.sum()
    if total == 0.0:
        return float(values.mean()), float(values.mean())
    freedom = max(1.0, total**2 / (squares**2).sum() - 1.0)
    error = np.sqrt(total / (len(values) - 1) / len(values))
    half = stats.t.ppf((1 + confidence) / 2, freedom) * error
    return float(values.mean() - half), float(values.mean() + half)


def betting(values: NDArray[np.float64], bound: float, confidence: float) -> tuple[float, float]:
    """Interval by betting: holds at every sample size, whatever the distribution.

    A gambler who bets against each candidate mean can only by luck grow rich on the true one; what
    ruins nobody is the interval. Capital process, predictable bets and their truncation at 1/2 are
    those of Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting",
    theorem 3 and equation 26. Never much wider than empirical Bernstein (Maurer & Pontil 2009), and
    mostly far narrower.

    Args:
        values: shape (n,), n >= 1, independent, each from 0 to `bound`; in an order that does not
            depend on them.
        bound: what no value can exceed, above 0.
        confidence: 0-1.
    """
    scaled = np.clip(values / bound, 0.0, 1.0)
    alpha = 1 - confidence
    return _lower(scaled, alpha) * bound, (1.0 - _lower(1.0 - scaled, alpha)) * bound


def _lower(values: NDArray[np.float64], alpha: float) -> float:
    """Return the highest mean below which every candidate makes the gambler rich.

    A candidate is refuted by capital 2 / alpha at any time (Ville's inequality), the other half of
    alpha being the upper bound's. Capital falls as the candidate rises, so bisection finds the end.
    """
    n = len(values)
    times = np.arange(2, n + 2)
    means = (0.5 + np.cumsum(values)) / times
    variances = (0.25 + np.cumsum((values - means) ** 2)) / times
    known_before = np.concatenate([[0.25], variances[:-1]])
    stake = np.log(2 / alpha)
    bets = np.sqrt(2 * stake / (n * known_before))
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        mean = (low + high) / 2
        gains = np.log1p(np.minimum(bets, 0.5 / mean) * (values - mean))
        if np.cumsum(gains).max() >= stake:
            low = mean
        else:
            high = mean
    return low
