"""What was seen of a rollout so far, as plain values: what gates judge and people read."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from rollout.statistics.sample_ratio import SampleRatioMonitor
from rollout.statistics.sequences import EffectMonitor


class Bin(Struct, frozen=True, gc=False):
    """Decisions of about one confidence that have been heard of.

    Attributes:
        confidence: sum over all `n`.
        right: of the `n`, those known to be for the right master.
        unknown: of the `n`, those of which nobody knows.
    """

    n: int = 0
    confidence: float = 0.0
    right: int = 0
    unknown: int = 0


class Levels(Struct, frozen=True, kw_only=True):
    """What decisions say of themselves, before anything is heard of them.

    Attributes:
        decisions: how many were made.
        fallbacks: why treatment was decided by rules, and how often.
        sought: decisions that were to have context.
        found: of these, those that have it.
        latency: bins of `rollout.sketch`, in milliseconds.
    """

    decisions: int = 0
    fallbacks: Mapping[str, int] = {}
    sought: int = 0
    found: int = 0
    latency: Mapping[int, int] = {}


class Arm(Struct, frozen=True, kw_only=True):
    """One arm since the present stage began.

    Attributes:
        levels: of all decisions.
        recent: of those of the last while.
        outcomes: how many of all have been heard of.
        successes: of these, done by the master that was chosen.
        heard_ms: when the last of these came, by the server's clock; 0 if none did.
        known: decisions of which it is known whether they chose the right master: a master had
            success, or passed the task on. Whether one that failed was the right one nobody knows.
        right: of these, those that did.
        squares: over these, the sum of (confidence - right)^2; divided by `known`, the Brier score.
        calibration: by confidence, in bins of equal width.
    """

    levels: Levels
    recent: Levels
    outcomes: int
    successes: int
    heard_ms: int
    known: int
    right: int
    squares: float
    calibration: tuple[Bin, ...]


class Shadow(Struct, frozen=True, kw_only=True):
    """A model that is only listened to, against the rules on the very same tasks.

    Attributes:
        model: its version.
        champion: whether treatment would be decided by that very model.
        decisions: tasks on which it had an opinion and rules decided.
        agreed: of these, those on which it would have chosen the same master.
        outcomes: of these, those that have been heard of.
        right: of the outcomes, those that name the model's master as the right one.
        rules_right: of the outcomes, those that name the rules'.
        differing: of the outcomes, those that name exactly one of the two.
        open: of the outcomes, those without success that say nothing of the model, since it would
            have chosen another master and no right one is named.
    """

    model: str
    champion: bool
    decisions: int
    agreed: int
    outcomes: int
    right: int
    rules_right: int
    differing: int
    open: int


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
