"""What a policy would have earned, from logs of another: estimates that say how far to trust them.

Notation: of n logged tasks, each went to action a_i, chosen with propensity p_i, and earned r_i.
The target policy would have given it with probability t_i; w_i = t_i / p_i is its weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from msgspec import Struct

from learning.intervals import betting, student

if TYPE_CHECKING:
    from learning.logged import Floats, Logged

Verdict = Literal["better", "worse", "inconclusive", "too_thin"]

# Below these nothing is promoted. Simulated, intervals still hold near them, but their width leaves
# no difference to be seen; below 5 tasks on one side of a comparison asymptotics fail.
MIN_TASKS = 200
MIN_ESS = 100.0
MIN_APART = 5.0
_LACKING = 3.0  # standard errors by which the mean weight may fall short of 1


class Estimate(Struct, frozen=True, kw_only=True):
    """The mean reward of a policy, or the difference of two.

    Attributes:
        low: lower end of the interval.
        high: its upper end.
        ess: effective sample size, (sum w)^2 / sum w^2 (Kish 1965): so many tasks logged under the
            target policy itself would say about as much.
        n: tasks.
        method: which estimator.
        missing: by how many standard errors the mean weight falls short of 1, its expectation
            wherever the logging policy might have done all that the target would.
    """

    value: float
    low: float
    high: float
    ess: float
    n: int
    method: str
    missing: float = 0.0


def ips(
    logged: Logged, target: Floats, *, clip: float | None = None, confidence: float = 0.95
) -> Estimate:
    """Inverse propensity score: mean of w r (Horvitz & Thompson 1952). Unbiased, wide.

    Its interval holds at any sample size (`learning.intervals.betting`).

    Args:
        logged: n tasks.
        target: shape (n, k), float64, rows sum to 1.
        clip: heavier weights count as this, which lowers variance and biases the value, and its
            interval with it, downwards (Ionides 2008).
        confidence: of the interval.

    Raises:
        ValueError: see `Logged.weights`.
    """
    weights = logged.weights(target)
    heaviest = logged.heaviest if clip is None else min(clip, logged.heaviest)
    values = np.minimum(weights, heaviest) * logged.rewards
    low, high = betting(values, heaviest, confidence)
    return _estimate(float(values.mean()), (low, high), [weights], "ips")


def snips(
    logged: Logged, target: Floats, *, clip: float | None = None, confidence: float = 0.95
) -> Estimate:
    """Self-normalised: sum of w r over sum of w (Swaminathan & Joachims 2015).

    Args: those of `ips`.

    Raises:
        ValueError: see `Logged.weights`.
    """
    weights = logged.weights(target)
    value, values = _self_normalised(logged, _clipped(weights, clip))
    interval = _interval(logged, weights, value, values, confidence)
    return _estimate(value, interval, [weights], "snips")


def doubly_robust(
    logged: Logged,
    target: Floats,
    predicted: Floats,
    *,
    switch: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Doubly robust: the model's expectation, corrected by what it got wrong (Dudik et al. 2014).

    Args:
        logged: n tasks.
        target: shape (n, k), float64, rows sum to 1.
        predicted: shape (n, k), float64: reward of each action as predicted without the row's own
            reward, for example by `learning.rewards.cross_fitted`.
        switch: where a weight is heavier than this the model alone is believed (Wang et al. 2017,
            SWITCH-DR): less variance, but biased by the model's error there.
        confidence: of the interval.

    Raises:
        ValueError: see `Logged.weights`.
    """
    weights = logged.weights(target)
    values = _doubly_robust(logged, target, weights, predicted, switch)
    value = float(values.mean())
    interval = _interval(logged, weights, value, values, confidence)
    return _estimate(value, interval, [weights], "dr")


def lift(
    logged: Logged,
    candidate: Floats,
    baseline: Floats,
    predicted: Floats | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return how much more `candidate` would have earned than `baseline`, on the same tasks.

    Where the two agree nothing is estimated, so the interval is far narrower than those of the two
    apart. Where hardly a task went to what only one of them would do, there is nothing asymptotic
    about it, and the interval is the one by betting.

    Args:
        logged: n tasks.
        candidate: shape (n, k), float64, rows sum to 1.
        baseline: the same.
        predicted: as in `doubly_robust`; None compares by `snips`.
        confidence: of the interval.

    Returns:
        Its `ess` counts tasks that went where one policy is likelier than the other to send them:
        those of the candidate or those of the baseline, whichever are fewer.

    Raises:
        ValueError: see `Logged.weights`.
    """
    weights = [logged.weights(candidate), logged.weights(baseline)]
    if predicted is None:
        (value, values), (other, others) = (_self_normalised(logged, each) for each in weights)
        value, values, method = value - other, values - others, "snips"
    else:
        values = _doubly_robust(logged, candidate, weights[0], predicted, None)
        values -= _doubly_robust(logged, baseline, weights[1], predicted, None)
        value, method = float(values.mean()), "dr"
    apart = weights[0] - weights[1]
    seen = _seen(apart)
    if seen >= MIN_APART or np.array_equal(candidate, baseline):
        interval = student(values, confidence)
    else:
        heaviest = logged.heaviest
        low, high = betting(apart * logged.rewards + heaviest, 2 * heaviest, confidence)
        interval = min(low - heaviest, value), max(high - heaviest, value)
    found = _estimate(value, interval, weights, method, least=-1.0)
    return msgspec.structs.replace(found, ess=seen)


def verdict(candidate: Estimate, baseline: Estimate, difference: Estimate | None = None) -> Verdict:
    """Say whether the candidate is better, so that it may be promoted only where it is.

    Args:
        candidate: what it would have earned.
        baseline: what the one it would replace would have earned, on the same tasks.
        difference: `lift` of the two, which decides where given; else their intervals must part.

    Returns:
        `too_thin` where an estimate rests on fewer than `MIN_TASKS` tasks or an effective sample
        below `MIN_ESS` (a difference: `MIN_APART`), or where its mean weight betrays actions that
        were never tried.
    """
    limits = [(candidate, MIN_ESS), (baseline, MIN_ESS)]
    if difference is not None:
        limits.append((difference, MIN_APART))
    for estimate, least in limits:
        if estimate.n < MIN_TASKS or estimate.ess < least or estimate.missing > _LACKING:
            return "too_thin"
    gain = difference.low if difference else candidate.low - baseline.high
    loss = difference.high if difference else candidate.high - baseline.low
    return "better" if gain > 0 else "worse" if loss < 0 else "inconclusive"


def _clipped(weights: Floats, clip: float | None) -> Floats:
    return weights if clip is None else np.minimum(weights, clip)


def _self_normalised(logged: Logged, weights: Floats) -> tuple[float, Floats]:
    """Return the ratio and values that spread as it does: its jackknife pseudo-values.

    Leaving a row out moves the ratio by w (r - ratio) / (sum of the other weights). Unlike the
    delta method this does not make light of the few heavy rows (Efron 1982, chapter 2).
    """
    total = weights.sum()
    if total == 0.0:  # nothing the target would do was ever done
        return 0.5, np.zeros(len(weights))
    value = float((weights * logged.rewards).sum() / total)
    others = np.maximum(total - weights, np.finfo(np.float64).tiny)
    moved = weights * (logged.rewards - value) / others
    return value, value + len(weights) * (moved - moved.mean())


def _doubly_robust(
    logged: Logged, target: Floats, weights: Floats, predicted: Floats, switch: float | None
) -> Floats:
    believed = weights if switch is None else np.where(weights > switch, 0.0, weights)
    surprise = logged.rewards - logged.of_taken(predicted)
    values: Floats = (target * predicted).sum(axis=1) + believed * surprise
    return values


def _interval(
    logged: Logged, weights: Floats, value: float, values: Floats, confidence: float
) -> tuple[float, float]:
    """Return Student's; by betting where hardly a task shows what the logging policy seldom does.

    Of a handful of heavy rows, or of none by chance, the variance says too little.
    """
    apart = weights - 1.0  # from the logging policy, whose own weights are 1
    seen = _seen(apart) >= MIN_APART and _missing(weights) <= _LACKING
    if seen or not apart.any():
        return student(values, confidence)
    low, high = betting(weights * logged.rewards, logged.heaviest, confidence)
    return min(low, value), max(high, value)


def _seen(apart: Floats) -> float:
    """Return how many tasks tell two policies apart, from the difference of their weights."""
    return min(_ess(np.maximum(apart, 0.0)), _ess(np.maximum(-apart, 0.0)))


def _estimate(
    value: float,
    interval: tuple[float, float],
    weights: list[Floats],
    method: str,
    least: float = 0.0,
) -> Estimate:
    # Rewards are 0-1, so no policy earns more, whatever few heavy tasks make of the value.
    low, high = np.clip(interval, least, 1.0).tolist()
    return Estimate(
        value=value,
        low=low,
        high=high,
        ess=min(_ess(each) for each in weights),
        n=len(weights[0]),
        method=method,
        missing=max(_missing(each) for each in weights),
    )


def _ess(weights: Floats) -> float:
    return float(weights.sum() ** 2 / squares) if (squares := (weights**2).sum()) else 0.0


def _missing(weights: Floats) -> float:
    short = 1.0 - float(weights.mean())
    error = float(weights.std(ddof=1)) / len(weights) ** 0.5
    if abs(short) < 1e-9:  # noqa: PLR2004 - rounding
        return 0.0
    return short / error if error else float(np.copysign(np.inf, short))
