"""Whether a night's model may be seen in shadow: pure deciding on what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from numpy.typing import NDArray

Verdict = Literal["challenger", "refused"]


class GateSettings(Struct, frozen=True, kw_only=True):
    """What a night must bring.

    Attributes:
        min_outcomes: below so many there is nothing to learn from.
        min_held_back: below so many, a comparison says nothing.
        held_back: share of what is new since the champion that is held back to compare on.
        margin: the candidate may be so much worse, as a share of all tasks, without harm.
        level: confidence of the interval.
    """

    min_outcomes: int = 40
    min_held_back: int = 20
    held_back: float = 0.3
    margin: float = 0.01
    level: float = 0.95


class Comparison(Struct, frozen=True, kw_only=True):
    """Three routers on the same tasks, which none was trained on.

    Attributes:
        n: tasks compared on.
        candidate: estimated share that would have succeeded; likewise the next two.
        difference: candidate less champion.
        low: lower end of the difference's interval.
        high: upper end.
        ess: effective sample size of the estimates.
    """

    n: int
    candidate: float
    champion: float
    rules: float
    difference: float
    low: float
    high: float
    ess: float


class Judgement(Struct, frozen=True):
    """What becomes of a candidate, and why."""

    verdict: Verdict
    reason: str


def refusal(
    *, outcomes: int, new: int, fingerprint: str, seen: str | None, settings: GateSettings
) -> str | None:
    """Return why there is nothing to train tonight, if so.

    Args:
        outcomes: how many there are.
        new: how many of them came after the champion was trained.
        fingerprint: of all data there is.
        seen: fingerprint of the data the latest model was trained on.
        settings: what a night must bring.
    """
    if outcomes < settings.min_outcomes:
        return f"too thin: {outcomes} outcomes, of at least {settings.min_outcomes}"
    if fingerprint == seen:
        return "unchanged: a model was already trained on exactly these data"
    if new * settings.held_back < settings.min_held_back:
        needed = round(settings.min_held_back / settings.held_back)
        return f"too thin: {new} outcomes since the champion was trained, of at least {needed}"
    return None


def held_back(new: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Return which outcomes to hold back: the youngest share of those the champion has not seen.

    What is held back must be new to both. The candidate sees the rest of what is new, so that the
    comparison asks what it should: whether learning from the latest outcomes helps on later ones.

    Args:
        new: shape (n,), in the order of time; whether it came after the champion was trained.
        share: of the new ones, 0-1.

    Returns:
        Array of shape (n,).
    """
    positions = np.flatnonzero(new)
    chosen = np.zeros(len(new), bool)
    chosen[positions[len(positions) - round(len(positions) * share) :]] = True
    return chosen


def judge(comparison: Comparison, settings: GateSettings) -> Judgement:
    """Decide on a candidate: refused only if it is plainly worse than the champion.

    Shadow costs nothing, so that a candidate which may be better is let in; promotion is where
    proof is asked for. Plainly worse is a whole interval below what the margin allows.
    """
    measured = (
        f"{comparison.candidate:.1%} would succeed, {comparison.champion:.1%} with the champion, "
        f"{comparison.rules:.1%} with the rules, of {comparison.n} later tasks"
        f" (difference {comparison.low:+.1%} to {comparison.high:+.1%})"
    )
    if comparison.high < -settings.margin:
        return Judgement("refused", f"worse: {measured}")
    return Judgement("challenger", measured)
