"""Confidence sequences: intervals that hold at all times at once, so that one may stop at any.

Asymptotic ones, as Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, "Time-uniform central limit
theory and asymptotic confidence sequences" (Annals of Statistics 52, arXiv:2103.06476) derive them.

The effect of a treatment is estimated from scores (T - p)(R - m): T is 1 under treatment and 0
under control, p the chance that there was of treatment, R the reward, m a prediction made before.
With m = (1 - p) m1 + p m0 from predictions for the two arms this is p (1 - p) times the augmented
inverse-propensity-weighted score (AIPW; Robins, Rotnitzky & Zhao 1994). Given the past its mean is
p (1 - p) times the effect whatever m is, so that sum (T - p)(R - m) / sum p (1 - p) estimates the
effect without bias, whatever was the percentage at each time. The weights p (1 - p) are the overlap
weights of Li, Morgan & Zaslavsky 2018: inverse variances where rewards vary alike in both arms.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

BEST_AT = 500.0
"""Sum of p (1 - p) at which an effect's interval is narrowest: somewhat fewer treated outcomes. The
later, the more cautious at first, when a tenth is treated and hardly any of these has failed yet.
Chosen by `python -m bench.sequential`: from the first outcome on, looked at after each, either end
is wrong in about half of alpha of the runs or fewer; tuned to 300, the lower end is in more."""

_VARIANCE = 0.16
"""Of a reward whose mean is .8: turns `BEST_AT` into the time of the boundary, fixed in advance."""

_PRIOR = 10.0
"""Rewards by which an arm's running mean is drawn to the mean of both. Any number is valid."""


def radius(variance: ArrayLike, *, alpha: float, best_at: float) -> Floats:
    """Return how far a martingale may stray from 0, at all times but with probability `alpha`.

    Robbins' normal mixture, in time measured as variance, as their Lyapunov-type sequence has it,
    which allows means and variances to change; with the tuning that they give in closed form.

    Args:
        variance: sum of the increments' variances so far, any shape, at least 0.
        alpha: both sides together, 0-1.
        best_at: variance at which it is narrowest, above 0, fixed in advance.
    """
    cost = -2.0 * math.log(alpha)
    rho_squared = (cost + math.log1p(cost)) / best_at
    scaled = np.asarray(variance, np.float64) * rho_squared + 1.0
    result: Floats = np.sqrt(scaled / rho_squared * (np.log(scaled) + cost))
    return result


def confidence_sequence(
    mean: ArrayLike, variance: ArrayLike, n: ArrayLike, *, alpha: float, best_at: float
) -> tuple[Floats, Floats]:
    """Return the interval for the mean of independent values after `n` of them.

    The asymptotic Gaussian-mixture confidence sequence.

    Args:
        mean: of the first `n` values; any shape, as the next two.
        variance: of the first `n` values.
        n: values so far, above 0.
        alpha: both sides together, 0-1.
        best_at: number of values at which it is narrowest, fixed in advance.

    Returns:
        Lower and upper ends, in the arguments' common shape.
    """
    count = np.asarray(n, np.float64)
    half = np.sqrt(variance) * radius(count, alpha=alpha, best_at=best_at) / count
    middle = np.asarray(mean, np.float64)
    return middle - half, middle + half


class Path(NamedTuple):
    """Running sums over the outcomes along the last axis, each up to and including it.

    Attributes:
        n: outcomes that teach something: those with a share inside (0, 1).
        treated: of these.
        rewards: sum of rewards of control.
        treated_rewards: sum of rewards of treatment.
        score: sum of (T - p)(R - m).
        weight: sum of p (1 - p).
        score_squared: sum of squared scores.
        cross: sum of scores times weights.
        weight_squared: sum of squared weights.
    """

    n: Floats
    treated: Floats
    rewards: Floats
    treated_rewards: Floats
    score: Floats
    weight: Floats
    score_squared: Floats
    cross: Floats
    weight_squared: Floats

    def effect(self) -> Floats:
        """Return the estimated effect, NaN where nothing is known."""
        with np.errstate(invalid="ignore"):
            result: Floats = self.score / self.weight
        return result

    def variance(self) -> Floats:
        """Return the sum of squared scores about what the estimated effect makes them."""
        effect = self.effect()
        result: Floats = np.maximum(
            self.score_squared - 2.0 * effect * self.cross + effect**2 * self.weight_squared, 0.0
        )
        return result

    def interval(self, alpha: float, best_at: float = BEST_AT) -> tuple[Floats, Floats]:
        """Return lower and upper ends of the effect's confidence sequence, within -1 to 1."""
        effect = self.effect()
        with np.errstate(invalid="ignore"):
            half = radius(self.variance(), alpha=alpha, best_at=best_at * _VARIANCE) / self.weight
        known = self.weight > 0.0
        low: Floats = np.where(known, np.maximum(effect - half, -1.0), -1.0)
        high: Floats = np.where(known, np.minimum(effect + half, 1.0), 1.0)
        return low, high


def effect_path(
    treated: ArrayLike, reward: ArrayLike, share: ArrayLike, start: Path | None = None
) -> Path:
    """Follow outcomes, each predicted from those before it.

    Args:
        treated: shape (..., n), whether treatment decided.
        reward: shape (..., n), 0-1.
        share: shape (..., n) or broadcast to it, chance of treatment when it was assigned. Where it
            is 0 or 1 there is nothing to compare with, and the outcome is passed over.
        start: sums to go on from, shape (..., 1).

    Raises:
        ValueError: a reward or a share is outside 0 to 1.
    """
    t, r, p = np.broadcast_arrays(
        *(np.asarray(values, np.float64) for values in (treated, reward, share))
    )
    if not (((r >= 0.0) & (r <= 1.0)).all() and ((p >= 0.0) & (p <= 1.0)).all()):
        raise ValueError("rewards and shares are from 0 to 1")
    before = start or Path(*np.zeros((len(Path._fields), *t.shape[:-1], 1)))
    compared = (p > 0.0) & (p < 1.0)

    def sums(values: Floats, since: Floats) -> Floats:
        result: Floats = since + np.cumsum(values * compared, axis=-1)
        return result

    def past(total: Floats, since: Floats) -> Floats:
        return np.concatenate([since, total[..., :-1]], axis=-1)

    n, n1 = sums(np.ones_like(t), before.n), sums(t, before.treated)
    r0, r1 = sums(r * (1 - t), before.rewards), sums(r * t, before.treated_rewards)
    seen, seen1 = past(n, before.n), past(n1, before.treated)
    sum0, sum1 = past(r0, before.rewards), past(r1, before.treated_rewards)
    both = (sum0 + sum1 + 0.5 * _PRIOR) / (seen + _PRIOR)
    m1 = (sum1 + _PRIOR * both) / (seen1 + _PRIOR)
    m0 = (sum0 + _PRIOR * both) / (seen - seen1 + _PRIOR)
    score = (t - p) * (r - ((1 - p) * m1 + p * m0))
    weight = p * (1 - p)
    return Path(
        n=n,
        treated=n1,
        rewards=r0,
        treated_rewards=r1,
        score=sums(score, before.score),
        weight=sums(weight, before.weight),
        score_squared=sums(score**2, before.score_squared),
        cross=sums(score * weight, before.cross),
        weight_squared=sums(weight**2, before.weight_squared),
    )


class EffectMonitor(Struct, frozen=True):
    """Running effect of treatment on the mean reward, at any time. Resumable.

    Attributes:
        sums: as the fields of `Path`, in its order.
    """

    sums: tuple[float, ...] = (0.0,) * len(Path._fields)

    def update(self, treated: ArrayLike, reward: ArrayLike, share: ArrayLike) -> EffectMonitor:
        """Return the monitor after one more outcome, or several in their order.

        Args:
            treated: a bool, or shape (n,): whether treatment decided.
            reward: a float, or shape (n,), 0-1.
            share: chance of treatment in force when it was assigned; a float, or shape (n,).

        Raises:
            ValueError: a reward or a share is outside 0 to 1.
        """
        path = effect_path(np.atleast_1d(treated), reward, share, self._path())
        return EffectMonitor(tuple(float(s[-1]) for s in path)) if path.n.size else self

    @property
    def n(self) -> int:
        """Outcomes that taught something."""
        return int(self.sums[0])

    @property
    def treated(self) -> int:
        """Of these, in treatment."""
        return int(self.sums[1])

    @property
    def effect(self) -> float:
        """Mean reward of treatment less that of control; NaN where nothing is known."""
        return float(self._path().effect()[0])

    def interval(self, alpha: float, best_at: float = BEST_AT) -> tuple[float, float]:
        """Return the effect's interval, which holds at all times with probability 1 - `alpha`.

        Args:
            alpha: both sides together, 0-1.
            best_at: sum of p (1 - p) at which it is narrowest, fixed in advance.
        """
        low, high = self._path().interval(alpha, best_at)
        return float(low[0]), float(high[0])

    def _path(self) -> Path:
        return Path(*np.array(self.sums)[:, None])
