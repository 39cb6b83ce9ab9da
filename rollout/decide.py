"""What is to be done about a rollout now, and why: from its plan, what was seen, what failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from rollout.gates import Verdict, judge

if TYPE_CHECKING:
    from rollout.observation import Observation
    from rollout.stages import Plan, Stage
    from rollout.timeline import Timeline


class Action(Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        kind: `advance` to `stage`; `hold`: nothing, for now; `pause` and `rollback` are for people
            to undo.
        reason: one sentence with its figures.
        stage: where to, of `advance`.
        model: version that treatment is decided by from then on, of `advance`; None is the same.
    """

    kind: Literal["advance", "hold", "pause", "rollback"]
    reason: str
    stage: str | None = None
    model: str | None = None


class History(Struct, frozen=True, kw_only=True):
    """What went before in the present stage; begun anew when a rollout is resumed.

    Attributes:
        staged: version of the configuration that the stage began with.
        failures: by gate, measurements that failed.
    """

    staged: int = -1
    failures: Mapping[str, int] = {}

    def after(self, staged: int, verdicts: tuple[Verdict, ...]) -> History:
        """Return the history with one more measurement of each gate."""
        before = self.failures if staged == self.staged else {}
        failed = {v.gate: before.get(v.gate, 0) + 1 for v in verdicts if v.answer == "fail"}
        return History(staged=staged, failures={**before, **failed})


class Step(Struct, frozen=True, kw_only=True):
    """One evaluation.

    Attributes:
        verdicts: of the stage's gates in their order; none where the rollout is left alone.
        history: for the next evaluation.
    """

    action: Action
    verdicts: tuple[Verdict, ...]
    history: History


def decide(plan: Plan, timeline: Timeline, seen: Observation, history: History) -> Step:
    """Judge the gates of the present stage and say what follows.

    Args:
        plan: the stages.
        timeline: the rollout and the configuration in force.
        seen: what was observed of it; its `at_ms` is now.
        history: of the evaluations before.
    """
    if alone := _left_alone(plan, timeline):
        return Step(action=_hold(alone), verdicts=(), history=History())
    stage = plan.stage(timeline.config.stage or "")
    verdicts = tuple(
        judge(gate, seen, percentage=stage.percentage, alpha=plan.alpha) for gate in stage.gates
    )
    history = history.after(timeline.staged, verdicts)
    action = (
        _several_models(seen)
        or _failed(stage, verdicts, history)
        or _missing(plan, stage, timeline, seen, verdicts)
        or _wait(stage, timeline, seen, verdicts)
        or _onwards(plan, stage, timeline, seen, verdicts)
    )
    return Step(action=action, verdicts=verdicts, history=history)


def _left_alone(plan: Plan, timeline: Timeline) -> str | None:
    """Why the rollout is none of the controller's business; None if it is."""
    config = timeline.config
    if config.paused is not None:
        return f"paused: {config.paused}"
    if config.stage is None:
        return "the percentage was set by hand; `cortex rollout stage` enters a stage"
    if config.stage not in plan.names:
        return f"the plan has no stage {config.stage!r}"
    if config.arms is not None:
        return "several arms are compared, which is for people to judge"
    planned = plan.stage(config.stage).percentage
    if config.percentage != planned:
        return f"stage {config.stage} is at {config.percentage:.2%}, by the plan {planned:.2%}"
    return None


def _several_models(seen: Observation) -> Action | None:
    """Whether treatment was not one thing, so that no figure means anything."""
    if len(seen.models) < 2:  # noqa: PLR2004 - several
        return None
    counted = ", ".join(f"{model} ({n:,})" for model, n in sorted(seen.models.items()))
    return Action(
        kind="pause",
        reason=f"several models decided in treatment since the rollout began: {counted}; "
        "naming one, or entering the first stage, begins anew",
    )


def _failed(stage: Stage, verdicts: tuple[Verdict, ...], history: History) -> Action | None:
    """What a gate that failed oftener than it may asks for; a rollback before a pause."""
    found: Action | None = None
    for gate, verdict in zip(stage.gates, verdicts, strict=True):
        failures = history.failures.get(gate.name, 0)
        if verdict.answer != "fail" or gate.dry_run or failures <= gate.failure_limit:
            continue
        times = f" ({failures} times)" if gate.failure_limit else ""
        reason = f"{stage.name}: {verdict.sentence}{times}"
        if gate.on_failure == "rollback" and stage.percentage > 0:
            return Action(kind="rollback", reason=reason)
        found = found or Action(kind="pause", reason=reason)
    return found


def _missing(
    plan: Plan,
    stage: Stage,
    timeline: Timeline,
    seen: Observation,
    verdicts: tuple[Verdict, ...],
) -> Action | None:
    """Whether something has been missing for too long.

    The last stage is not paused: its gates go on watching for as long as the model decides.
    """
    heard_ms = _heard_ms(stage, seen)
    silent_s = (seen.at_ms - max(timeline.changed_ms, heard_ms)) / 1_000
    waited_s = (seen.at_ms - timeline.changed_ms) / 1_000
    last = plan.next(stage.name) is None
    if last or waited_s < stage.patience_s:
        return None
    if silent_s >= stage.patience_s:
        whose = "treatment's tasks" if stage.percentage > 0 else "any task"
        heard = f"{_samples(stage, seen):,} in this stage so far"
        return Action(
            kind="pause",
            reason=f"{stage.name}: no outcome of {whose} for {_time(silent_s)} ({heard})",
        )
    unknown = [v for v in verdicts if v.value is None and not v.dry_run]
    if unknown:
        reason = f"{stage.name}: for {_time(waited_s)}, {unknown[0].sentence}"
        return Action(kind="pause", reason=reason)
    return None


def _wait(
    stage: Stage, timeline: Timeline, seen: Observation, verdicts: tuple[Verdict, ...]
) -> Action | None:
    """What the next stage still waits for."""
    samples, lasted_s = _samples(stage, seen), (seen.at_ms - timeline.staged_ms) / 1_000
    lacking = [v.sentence for v in verdicts if v.answer != "pass" and not v.dry_run]
    if samples < stage.min_samples:
        return _hold(f"{stage.name}: {samples:,} of {stage.min_samples:,} outcomes", lacking)
    if lasted_s < stage.min_time_s:
        return _hold(f"{stage.name}: {_time(lasted_s)} of {_time(stage.min_time_s)}", lacking)
    return _hold(f"{stage.name}: {lacking[0]}", lacking[1:]) if lacking else None


def _onwards(
    plan: Plan,
    stage: Stage,
    timeline: Timeline,
    seen: Observation,
    verdicts: tuple[Verdict, ...],
) -> Action:
    """Go on to the next stage; from shadow with the very model that was heard there."""
    following = plan.next(stage.name)
    figures = "; ".join(v.sentence for v in verdicts if not v.dry_run) or "nothing is asked"
    if following is None:
        return _hold(f"{stage.name} is the last stage: {figures}")
    shadow = seen.shadow
    heard = shadow.model if stage.percentage == 0 and shadow and not shadow.champion else None
    return Action(
        kind="advance",
        reason=f"{stage.name} passed with {_samples(stage, seen):,} outcomes: {figures}",
        stage=following.name,
        model=heard if timeline.config.model is None else None,
    )


def _samples(stage: Stage, seen: Observation) -> int:
    at_zero = seen.control.outcomes if stage.percentage == 0 else 0
    return seen.treatment.outcomes + at_zero


def _heard_ms(stage: Stage, seen: Observation) -> int:
    at_zero = seen.control.heard_ms if stage.percentage == 0 else 0
    return max(seen.treatment.heard_ms, at_zero)


def _hold(reason: str, further: list[str] | None = None) -> Action:
    return Action(kind="hold", reason="; ".join([reason, *(further or [])]))


def _time(seconds: float) -> str:
    """Write a time as people say it."""
    for unit, size in (("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def as_dict(step: Step) -> dict[str, object]:
    """Return a step as plain values, for logs and for `--json`."""
    return {
        **msgspec.to_builtins(step.action),
        "gates": [msgspec.to_builtins(verdict) for verdict in step.verdicts],
    }
