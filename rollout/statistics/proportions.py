"""Two shares side by side, for people: how far apart, how many times as large, how surely.

These intervals hold at one moment that was fixed in advance. Nothing is decided by them: what is
looked at all the time is decided by `sequences` and `failures`.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple


class Proportion(NamedTuple):
    """A share with its interval, all 0-1; the share is NaN and the interval all where n is 0."""

    hits: int
    n: int
    share: float
    low: float
    high: float


class Comparison(NamedTuple):
    """Treatment beside control.

    Attributes:
        difference: of the shares, treatment less control; NaN where an arm is empty.
        difference_low: its lower end; -1 where nothing is known.
        difference_high: its upper end; 1 where nothing is known.
        ratio: of the shares, treatment by control; NaN if both are 0 or an arm is empty.
        ratio_low: its lower end; 0 where nothing is known.
        ratio_high: its upper end; inf where nothing is known.
    """

    control: Proportion
    treatment: Proportion
    difference: float
    difference_low: float
    difference_high: float
    ratio: float
    ratio_low: float
    ratio_high: float


def wilson(hits: int, n: int, confidence: float = 0.95) -> Proportion:
    """Return a share with Wilson's score interval (1927), without continuity correction.

    Args:
        hits: of `n`.
        n: 0 or more.
        confidence: 0-1.

    Raises:
        ValueError: there cannot be so many.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n}")
    if n == 0:
        return Proportion(hits, n, math.nan, 0.0, 1.0)
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share, scale = hits / n, 1.0 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1.0 - share) / n + z * z / (4 * n * n)) / scale
    low = max(0.0, middle - half) if hits else 0.0
    high = min(1.0, middle + half) if hits < n else 1.0
    return Proportion(hits, n, share, low, high)


def compare(
    control: tuple[int, int], treatment: tuple[int, int], confidence: float = 0.95
) -> Comparison:
    """Compare two shares.

    The difference's interval is method 10 of Newcombe 1998, "Interval estimation for the difference
    between independent proportions: comparison of eleven methods"; the ratio's is made from the
    same Wilson intervals after Donner & Zou 2012, "Closed-form confidence intervals for functions
    of the normal mean and standard deviation". Neither minds arms without a success.

    Args:
        control: successes, and of how many.
        treatment: likewise.
        confidence: 0-1.

    Raises:
        ValueError: there cannot be so many.
    """
    c, t = wilson(*control, confidence), wilson(*treatment, confidence)
    if not (c.n and t.n):
        return Comparison(c, t, math.nan, -1.0, 1.0, math.nan, 0.0, math.inf)
    difference = t.share - c.share
    below = math.hypot(t.share - t.low, c.high - c.share)
    above = math.hypot(t.high - t.share, c.share - c.low)
    return Comparison(
        c, t, difference, difference - below, difference + above, _ratio(t, c), *_ends(t, c)
    )


def _ratio(over: Proportion, under: Proportion) -> float:
    if under.share == 0.0:
        return math.inf if over.share else math.nan
    return over.share / under.share


def _ends(over: Proportion, under: Proportion) -> tuple[float, float]:
    """Return the ratio's ends; the lower one rationalised, so that nothing is divided by 0."""
    product = over.share * under.share
    a, b = over.low * (2 * over.share - over.low), under.high * (2 * under.share - under.high)
    low = a / (product + math.sqrt(product**2 - a * b)) if a else 0.0
    a, b = over.high * (2 * over.share - over.high), under.low * (2 * under.share - under.low)
    high = (product + math.sqrt(product**2 - a * b)) / b if b else math.inf
    return low, high
