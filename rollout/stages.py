"""The plan of a rollout: its stages and the gates between them. They are data: `rollout.toml`."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from contracts.errors import FatalError
from contracts.messages import Name, Probability

Metric = Literal[
    "success",
    "accuracy",
    "errors",
    "fallbacks",
    "calibration",
    "context",
    "latency_p99",
    "sample_ratio",
]
COMPARISONS: Final = frozenset({"success", "accuracy"})
"""Metrics that are differences, treatment minus control; all others are levels."""

Amount = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Interval = Annotated[float, Meta(gt=0)]
Level = Annotated[float, Meta(gt=0, lt=1)]
Times = Annotated[int, Meta(ge=0)]
GateName = Annotated[str, Meta(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one metric must keep to.

    Attributes:
        metric: `success` and `accuracy` are treatment's share minus control's; `errors` the share
            of treatment for which the model failed, `fallbacks` that which rules decided for any
            reason; `calibration` the expected calibration error of treatment's confidence;
            `context` the share of decisions with context; `latency_p99` in ms; `sample_ratio`
            whether treatment's share of decisions is the one that was set.
        margin: of a comparison: it passes where treatment is surely worse by no more than this.
        harm: of a comparison: it fails where treatment is surely worse by more than this.
        at_most: highest level that passes.
        at_least: lowest level that passes.
        failure_limit: measurements that may fail; the next one is final (Argo Rollouts'
            `failureLimit`, whose default 0 is, too).
        consecutive_error_limit: times in a row it may be impossible to measure (Argo Rollouts'
            `consecutiveErrorLimit`, default 4).
        on_failure: what a final failure does.
        dry_run: measured and written down, with no consequences (Argo Rollouts' `dryRun`).
    """

    metric: Metric
    margin: Amount | None = None
    harm: Amount = 0.0
    at_most: Amount | None = None
    at_least: Amount | None = None
    failure_limit: Times = 0
    consecutive_error_limit: Times = 4
    on_failure: Literal["rollback", "pause"] = "rollback"
    dry_run: bool = False


class Gate(Limits, frozen=True, kw_only=True):
    """Limits under the name that the stages of a plan use them by."""

    name: GateName


class Stage(Struct, frozen=True, kw_only=True):
    """One step of a rollout.

    Attributes:
        percentage: fraction of tasks in treatment, 0-1.
        min_time_s: the stage lasts at least so long.
        min_samples: and until so many outcomes of treatment's tasks have been heard since it
            began; at 0 %, of any tasks.
        patience_s: how long what a gate needs may be missing before the rollout is paused.
        gates: all of them must pass before the next stage.
    """

    name: Name
    percentage: Probability
    min_time_s: Seconds
    min_samples: Times
    patience_s: Seconds
    gates: tuple[Gate, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """A rollout from 0 % upwards.

    Attributes:
        stages: two or more, in order; the first is at 0 %, and where a rollback goes to.
        interval_s: time between two looks at the gates.
        alpha: probability that an equally good model is ever rolled back for its effect, and that
            a sound assignment is ever taken for a mismatch; holds however often one looks.
    """

    stages: tuple[Stage, ...]
    interval_s: Interval
    alpha: Level

    @property
    def first(self) -> Stage:
        """Where a rollout begins, and ends after a rollback."""
        return self.stages[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the plan."""
        return tuple(stage.name for stage in self.stages)

    def stage(self, name: str) -> Stage:
        """Return a stage by its name.

        Raises:
            FatalError: there is none of that name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise FatalError(f"no stage {name!r}; there are {', '.join(self.names)}")

    def next(self, name: str) -> Stage | None:
        """Return the stage after the one of this name; None after the last.

        Raises:
            FatalError: there is none of that name.
        """
        following = self.names.index(self.stage(name).name) + 1
        return self.stages[following] if following < len(self.stages) else None


class _StageLines(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    percentage: Probability
    min_time_s: Seconds = 0.0
    min_samples: Times = 0
    patience_s: Seconds
    gates: tuple[GateName, ...] = ()


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    interval_s: Interval
    alpha: Level
    stage: Annotated[tuple[_StageLines, ...], Meta(min_length=2)]
    gates: dict[GateName, Limits] = {}


def read_plan(text: str) -> Plan:
    """Read the text of a `rollout.toml`.

    Raises:
        FatalError: it is not TOML, a key is unknown or missing, a value is of the wrong kind or
            out of range, a name stands twice or for nothing, the percentages do not rise from 0,
            or a gate has no limit that suits its metric.
    """
    try:
        file = msgspec.toml.decode(text, type=_File)
    except msgspec.DecodeError as error:
        raise FatalError(f"plan: {error}") from error
    gates = {name: _gate(name, limits) for name, limits in file.gates.items()}
    stages = tuple(_stage(lines, gates) for lines in file.stage)
    _check_order(stages)
    return Plan(stages=stages, interval_s=file.interval_s, alpha=file.alpha)


def _gate(name: str, limits: Limits) -> Gate:
    bounds = (limits.margin, limits.at_most, limits.at_least)
    margin, *levels = (bound is not None for bound in bounds)
    if limits.metric == "sample_ratio":
        needed, sound = "none: alpha is its limit", not (margin or any(levels))
    elif limits.metric in COMPARISONS:
        needed, sound = "margin", margin and not any(levels)
    else:
        needed, sound = "at_most or at_least", any(levels) and not margin
    if not sound:
        raise FatalError(f"plan: gate {name!r}: the limits of {limits.metric} are {needed}")
    return Gate(name=name, **msgspec.structs.asdict(limits))


def _stage(lines: _StageLines, gates: dict[str, Gate]) -> Stage:
    if unknown := [name for name in lines.gates if name not in gates]:
        raise FatalError(f"plan: stage {lines.name!r}: there is no gate {unknown[0]!r}")
    chosen = tuple(gates[name] for name in lines.gates)
    if twice := [m for m, count in Counter(gate.metric for gate in chosen).items() if count > 1]:
        raise FatalError(f"plan: stage {lines.name!r}: several gates measure {twice[0]}")
    return Stage(**msgspec.structs.asdict(lines) | {"gates": chosen})


def _check_order(stages: tuple[Stage, ...]) -> None:
    if len({stage.name for stage in stages}) < len(stages):
        raise FatalError("plan: two stages have one name")
    shares = [stage.percentage for stage in stages]
    if shares[0] != 0 or any(low >= high for low, high in pairwise(shares)):
        raise FatalError("plan: the percentages must rise from 0, from each stage to the next")
