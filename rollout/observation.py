"""What was seen of a rollout so far, as plain values: what gates judge and people read."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from rollout.statistics.sample_ratio import SampleRatioMonitor
from rollout.statistics.sequences import EffectMonitor


class Bin(Struct, frozen=True, gc=False):
    """Decisions of about one confidence whose right master is known.

    Attributes:
        gap: sum of confidence minus 1 where the decision was right, minus 0 where it was not.
        square: sum of the squares of that.
    """

    n: int = 0
    gap: float = 0.0
    square: float = 0.0


class Arm(Struct, frozen=True, kw_only=True):
    """One arm since the present stage began.

    Attributes:
        decisions: how many were made.
        outcomes: how many of them have been heard of.
        successes: of these, done by the master that was chosen.
        known: decisions whose right master is known: a master had success, or passed the task on
            and said to whom.
        right: of these, those that chose it.
        squares: over these, the sum of (confidence - right)^2; divided by `known`, the Brier score.
        fallbacks: why treatment was decided by rules, and how often.
        sought: decisions that were to have context.
        found: of these, those that have it.
        latency: bins of `rollout.sketch`, in milliseconds.
        calibration: by confidence, in bins of equal width.
    """

    decisions: int
    outcomes: int
    successes: int
    known: int
    right: int
    squares: float
    fallbacks: Mapping[str, int]
    sought: int
    found: int
    latency: Mapping[int, int]
    calibration: tuple[Bin, ...]


class Shadow(Struct, frozen=True, kw_only=True):
    """A model that is only listened to, against the rules on the very same tasks.

    Attributes:
        model: its version.
        champion: whether treatment would be decided by that very model.
        decisions: tasks on which it had an opinion and rules decided.
        agreed: of these, those on which it would have chosen the same master.
        known: of these, those whose right master is known.
        right: of the known, those on which the model is right.
        rules_right: of the known, those on which the rules are.
        differing: of the known, those on which exactly one of the two is right.
    """

    model: str
    champion: bool
    decisions: int
    agreed: int
    known: int
    right: int
    rules_right: int
    differing: int


class Observation(Struct, frozen=True, kw_only=True):
    """A rollout since it began; see `rollout.timeline.Timeline`.

    Attributes:
        control: the arm of the rules, since the present stage began.
        treatment: the arm of the model, likewise.
        success: treatment minus control in the share of success, over the whole rollout.
        accuracy: likewise in the share of decisions for the right master, where it is known.
        ratio: whether as many tasks came to treatment as should have, over the whole rollout.
        models: versions that were asked in treatment, over the whole rollout, and how often.
        shadow: the model that is only listened to; None where none had an opinion.
        at_ms: the streams were read up to here, by the server's clock.
    """

    control: Arm
    treatment: Arm
    success: EffectMonitor
    accuracy: EffectMonitor
    ratio: SampleRatioMonitor
    models: Mapping[str, int]
    shadow: Shadow | None
    at_ms: int
