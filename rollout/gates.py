"""What an observation says of a gate: pass, fail, or that it cannot be told yet.

Every failure is one that may be looked for all the time: an interval that holds at all times at
once excludes what the gate allows. A level must have been exceeded in the last while besides: what
is over is no reason to act. Levels pass by what was measured, since a stage asks for samples
enough; comparisons pass only when an interval has shown it.

Harm is one end of an interval that is wrong with probability alpha at both together, so half of
alpha is left for the sample ratio: an equally good model is rolled back by chance with probability
alpha at most.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from rollout.sketch import above, quantile
from rollout.statistics.failures import rate_sequence
from rollout.statistics.sequences import confidence_sequence

if TYPE_CHECKING:
    from rollout.observation import Arm, Levels, Observation, Shadow
    from rollout.stages import Gate
    from rollout.statistics.sequences import EffectMonitor

Answer = Literal["pass", "fail", "inconclusive"]

BROKEN: Final = frozenset({"model_error", "model_unavailable", "embedding_unavailable"})
"""Reasons of a fallback that are failures; a model that abstains, or is switched off, works."""

_P99: Final = 0.99
_BEST_AT: Final = 400  # pairs in shadow at which the interval is narrowest: the plan's own number


class Verdict(Struct, frozen=True, kw_only=True):
    """One gate's answer.

    Attributes:
        gate: its name.
        value: what was measured; None where nothing could be.
        limit: what it must keep to; of comparisons, the least difference that passes.
        sentence: both in words, with all figures.
        dry_run: whether the answer has no consequences.
    """

    gate: str
    metric: str
    answer: Answer
    value: float | None
    limit: float
    sentence: str
    dry_run: bool = False


class _Level(Struct, frozen=True):
    """A level, and between what it surely is.

    Attributes:
        recent: what it was in the last while; None if there was nothing.
        unit: how it is written, as for `str.format`.
        of: what it was measured on.
    """

    value: float
    low: float
    high: float
    recent: float | None
    unit: str
    of: str


def judge(gate: Gate, seen: Observation, *, percentage: float, alpha: float) -> Verdict:
    """Judge what was seen by one gate.

    Args:
        gate: the metric and its limits.
        seen: the rollout so far.
        percentage: of the present stage, 0-1; at 0 the model is only heard in shadow.
        alpha: probability that this gate ever fails by chance alone, looked at all the time.
    """
    arm = seen.treatment if percentage > 0 else seen.control
    if gate.metric == "sample_ratio":
        return _ratio(gate, seen, alpha)
    if gate.metric == "accuracy" and percentage == 0:
        return _in_shadow(gate, seen.shadow, alpha)
    if gate.metric in {"success", "accuracy"}:
        monitor = seen.success if gate.metric == "success" else seen.accuracy
        return _difference(gate, monitor, alpha)
    return _level(gate, _measured(gate, arm, alpha))


def calibration_error(arm: Arm, alpha: float = 1.0) -> tuple[float, float, float]:
    """Return the expected calibration error (Guo et al. 2017), and between what it surely is.

    Where it is unknown which decisions were right, the least and the most that it can be.

    Args:
        arm: at least one of its decisions has been heard of.
        alpha: probability that the ends ever fail to hold, shared by the bins (Bonferroni).
    """
    total = sum(each.n for each in arm.calibration)
    value = low = high = 0.0
    for each in arm.calibration:
        if each.n:
            mean, most = each.confidence / each.n, each.right + each.unknown
            level = alpha / len(arm.calibration)
            least_rate, _ = rate_sequence(each.right, each.n, alpha=level)
            _, most_rate = rate_sequence(most, each.n, alpha=level)
            weight = each.n / total
            value += weight * _distance(mean, each.right / each.n, most / each.n)
            low += weight * _distance(mean, least_rate, most_rate)
            high += weight * max(mean - least_rate, most_rate - mean)
    return value, low, high


def _distance(value: float, low: float, high: float) -> float:
    return max(low - value, value - high, 0.0)


def _difference(gate: Gate, monitor: EffectMonitor, alpha: float) -> Verdict:
    if not monitor.treated or monitor.treated == monitor.n:
        return _unknown(gate, "no outcomes of both arms yet")
    low, high = monitor.interval(alpha)
    of = f"{monitor.n:,} outcomes, {monitor.treated:,} of them of treatment"
    return _compared(gate, monitor.effect, low, high, of)


def _in_shadow(gate: Gate, shadow: Shadow | None, alpha: float) -> Verdict:
    """Compare a model with the rules on the same tasks.

    Where a task had no success and nobody said who was right, a model that would have chosen
    somebody else may have been right or not: the ends are those of the worst and the best case.
    """
    if shadow is None or not shadow.outcomes:
        return _unknown(gate, "no outcomes of tasks on which a model in shadow had an opinion")
    n, ahead = shadow.outcomes, shadow.right - shadow.rules_right
    ends: list[float] = []
    for extra, side in ((0, 0), (shadow.open, 1)):
        mean = (ahead + extra) / n
        # As if one more task had told them apart: no variance would be certainty from one task.
        variance = max((shadow.differing + extra + 1) / n - mean**2, 0.0)
        ends.append(
            float(confidence_sequence(mean, variance, n, alpha=alpha, best_at=_BEST_AT)[side])
        )
    unknown = f", on {shadow.open:,} of which it is unknown" if shadow.open else ""
    of = f"{n:,} outcomes of {shadow.model} in shadow{unknown}"
    return _compared(gate, ahead / n, max(ends[0], -1.0), min(ends[1], 1.0), of)


def _compared(gate: Gate, effect: float, low: float, high: float, of: str) -> Verdict:
    margin, harm = gate.margin or 0.0, gate.harm
    if high < -harm:
        answer: Answer = "fail"
        meaning = "surely worse" + (f" by more than {harm:.3f}" if harm else "")
    elif low > -margin:
        answer, meaning = "pass", f"not worse by {margin:.3f}"
    else:
        answer, meaning = "inconclusive", f"not yet known to be above {-margin:.3f}"
    figures = f"{effect:+.3f} ({low:+.3f} to {high:+.3f}) against the rules, from {of}"
    return _verdict(gate, answer, effect, -margin, f"{gate.metric} {figures}: {meaning}")


def _ratio(gate: Gate, seen: Observation, alpha: float) -> Verdict:
    summary = seen.ratio.summary()
    if not summary.n:
        return _unknown(gate, "no decisions yet", alpha / 2)
    level = alpha / 2
    bad = summary.p_value < level
    figures = (
        f"{summary.treated:.2%} of {summary.n:,} units in treatment, {summary.expected:.2%} "
        f"expected (p = {summary.p_value:.2g}, limit {level:.2g})"
    )
    meaning = "units are missing or doubled in one arm" if bad else "as it should be"
    sentence = f"sample ratio: {figures}: {meaning}"
    return _verdict(gate, "fail" if bad else "pass", summary.p_value, level, sentence)


def _measured(gate: Gate, arm: Arm, alpha: float) -> _Level | None:
    """Measure a level; None where there is nothing to measure."""
    if gate.metric == "calibration":
        if not arm.outcomes:
            return None
        error, low, high = calibration_error(arm, alpha)
        return _Level(error, low, high, error, "{:.3f}", f"{arm.outcomes:,} outcomes")
    of = f"{arm.levels.decisions:,} decisions"
    if gate.metric == "latency_p99":
        value = quantile(arm.levels.latency, _P99)
        if value is None:
            return None
        # Surely above a limit that surely more than 1 % exceed.
        slow = above(arm.levels.latency, gate.at_most or gate.at_least or 0.0)
        low, high = rate_sequence(slow, arm.levels.decisions, alpha=alpha)
        least = value if low > 1 - _P99 else -math.inf
        most = value if high < 1 - _P99 else math.inf
        recent = quantile(arm.recent.latency, _P99)
        return _Level(value, least, most, recent, "{:,.1f} ms", of)
    count, n = _counted(gate.metric, arm.levels)
    lately, of_lately = _counted(gate.metric, arm.recent)
    if not n:
        return None
    low, high = rate_sequence(count, n, alpha=alpha)
    return _Level(count / n, low, high, lately / of_lately if of_lately else None, "{:.2%}", of)


def _counted(metric: str, levels: Levels) -> tuple[int, int]:
    """Return how many of how many decisions."""
    if metric == "context":
        return levels.found, levels.sought
    broken = {name: n for name, n in levels.fallbacks.items() if name in BROKEN}
    chosen = broken if metric == "errors" else levels.fallbacks
    return sum(chosen.values()), levels.decisions


def _level(gate: Gate, level: _Level | None) -> Verdict:
    if level is None:
        return _unknown(gate, "nothing to measure it on yet")
    most = math.inf if gate.at_most is None else gate.at_most
    least = -math.inf if gate.at_least is None else gate.at_least
    too_low = gate.at_most is None or level.value < least
    limit, relation = (least, "at least") if too_low else (most, "at most")
    bound = f"{relation} {level.unit.format(limit)}"
    over = level.recent is None or least <= level.recent <= most
    if least <= level.value <= most:
        answer: Answer = "pass"
        meaning = f"{bound}, as it should be"
    elif not (level.low > most or level.high < least):
        answer, meaning = "inconclusive", f"not {bound}, perhaps by chance"
    elif over:
        answer, meaning = "inconclusive", f"not {bound}, but not lately"
    else:
        answer, meaning = "fail", f"surely not {bound}"
    figures = f"{level.unit.format(level.value)} of {level.of}"
    return _verdict(gate, answer, level.value, limit, f"{gate.metric} {figures}: {meaning}")


def _unknown(gate: Gate, why: str, limit: float = math.nan) -> Verdict:
    bounds = [each for each in (gate.at_most, gate.at_least) if each is not None]
    if gate.margin is not None:
        bounds = [-gate.margin]
    sentence = f"{gate.metric} unknown: {why}"
    return _verdict(gate, "inconclusive", None, bounds[0] if bounds else limit, sentence)


def _verdict(
    gate: Gate, answer: Answer, value: float | None, limit: float, sentence: str
) -> Verdict:
    return Verdict(
        gate=gate.name,
        metric=gate.metric,
        answer=answer,
        value=value,
        limit=limit,
        sentence=sentence,
        dry_run=gate.dry_run,
    )
