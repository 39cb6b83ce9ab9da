"""How sure a model must be before it is followed, so that it is wrong no oftener than allowed.

The risk that is bounded is the share of all tasks (of a label) that the model takes on and gets
wrong. It can only fall as the threshold rises, which is what conformal risk control asks for
(Angelopoulos et al. 2022, "Conformal Risk Control", theorem 1): over calibration examples and a new
one that are exchangeable, the expected risk is at most the target. Every threshold above the lowest
that is allowed is allowed too, so that among them the one of greatest success can be taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MIN_EXAMPLES = 50  # of a label; with fewer it shares the threshold of all
NEVER = float(np.finfo(np.float32).max)  # a threshold no certainty reaches, finite as JSON wants it


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model made of n tasks it was not trained on, and whether it was right.

    From outcomes, all belong here whose right master is known, whoever decided: of tasks the model
    was followed on alone, the uncertain ones would be missing.

    Attributes:
        certainty: shape (n,), float32, finite; higher is surer.
        correct: shape (n,), bool.
        labels: n labels, as predicted, since a threshold is looked up by the prediction.
        otherwise: shape (n,), bool: whether the rules, which decide where the model abstains, were
            right; None counts abstaining as no success.
    """

    certainty: NDArray[np.float32]
    correct: NDArray[np.bool_]
    labels: Sequence[str]
    otherwise: NDArray[np.bool_] | None = None


class Threshold(Struct, frozen=True, kw_only=True):
    """From which certainty on a label is followed.

    Attributes:
        certainty: the model abstains below it; a float32. `NEVER` where it always must.
        bound: what the expected share of followed and wrong is guaranteed not to exceed; at most
            the target.
        coverage: share of the examples that are followed.
        risk: share of the examples that are followed and wrong.
        success: share that the model, or the rules in its stead, got right.
        n: examples it rests on.
        pooled: whether these are all labels' for want of enough of the label's own.
    """

    certainty: float
    bound: float
    coverage: float
    risk: float
    success: float
    n: int
    pooled: bool = False


class Change(Struct, frozen=True, kw_only=True):
    """One threshold that moved, why, and what puts it back.

    Attributes:
        before: None: there was none, the label was always followed.
        reason: for people.
    """

    label: str
    before: float | None
    after: float
    threshold: Threshold
    reason: str


def control(scored: Scored, target: float) -> Threshold:
    """Find the threshold of greatest success whose expected risk is at most `target`.

    With R(t) the share of examples with certainty >= t that are wrong, allowed is every t with
    n / (n + 1) R(t) + 1 / (n + 1) <= target (equation 4 of the paper, for losses of at most 1).

    Args:
        scored: n calibration examples; their labels do not matter.
        target: the risk allowed, 0-1.

    Raises:
        ValueError: shapes differ, `target` is out of range, or a certainty is not finite.
    """
    certainty = np.asarray(scored.certainty, np.float32)
    otherwise = np.zeros(len(certainty), bool) if scored.otherwise is None else scored.otherwise
    if not certainty.shape == scored.correct.shape == otherwise.shape:
        raise ValueError("needs as many certainties as verdicts")
    if not np.isfinite(certainty).all() or not 0.0 <= target <= 1.0:
        raise ValueError("needs finite certainties, and a risk from 0 to 1")
    n = len(certainty)
    order = np.argsort(-certainty, kind="stable")
    ends = np.flatnonzero(np.diff(certainty[order], append=-np.inf))  # of runs of equal certainty
    followed = np.concatenate([[0], ends + 1])
    mistakes = _sums(~scored.correct[order])[followed]
    gained = _sums(scored.correct[order]) - _sums(otherwise[order])
    success = (gained[followed] + otherwise.sum()) / max(n, 1)
    allowed = (followed == 0) | ((mistakes + 1) / (n + 1) <= target)
    best = _last_maximum(np.where(allowed, success, -np.inf))
    taken = int(followed[best])
    return Threshold(
        certainty=float(certainty[order][taken - 1]) if taken else NEVER,
        bound=float(mistakes[best] + 1) / (n + 1) if taken else 0.0,
        coverage=taken / max(n, 1),
        risk=float(mistakes[best]) / max(n, 1),
        success=float(success[best]),
        n=n,
    )


def thresholds(scored: Scored, target: float, *, labels: Sequence[str]) -> dict[str, Threshold]:
    """Find a threshold per label that holds the risk within the tasks predicted as it.

    A label with too few examples shares the pooled threshold, whose guarantee is over the tasks of
    all labels together, not over its own.

    Args:
        scored: calibration examples.
        target: the risk allowed, 0-1.
        labels: for which thresholds are wanted.

    Raises:
        ValueError: see `control`.
    """
    pooled = msgspec.structs.replace(control(scored, target), pooled=True)
    predicted = np.asarray(scored.labels, dtype=object)
    # One mistake must be affordable, or the only threshold allowed is NEVER.
    needed = max(MIN_EXAMPLES, math.ceil(2 / target) if target else MIN_EXAMPLES)
    found: dict[str, Threshold] = {}
    for label in labels:
        own = predicted == label
        enough = own.sum() >= needed
        found[label] = control(_only(scored, own), target) if enough else pooled
    return found


def recompute(
    thresholds_now: Mapping[str, float], outcomes: Scored, *, target: float, labels: Sequence[str]
) -> tuple[dict[str, float], list[Change]]:
    """Set thresholds anew from what happened.

    Args:
        thresholds_now: per label; a label without is always followed.
        outcomes: with fewer than `MIN_EXAMPLES` nothing changes.
        target: the risk allowed, 0-1.
        labels: all labels of the model.

    Returns:
        The thresholds from now on, and each that changed, to be logged; `revert` undoes them.

    Raises:
        ValueError: see `control`.
    """
    changes: list[Change] = []
    if len(outcomes.labels) >= MIN_EXAMPLES:
        for label, found in thresholds(outcomes, target, labels=labels).items():
            before = thresholds_now.get(label)
            if before != found.certainty:
                changes.append(_change(label, before, found, target))
    return {**thresholds_now, **{each.label: each.after for each in changes}}, changes


def revert(thresholds_now: Mapping[str, float], changes: Sequence[Change]) -> dict[str, float]:
    """Return the thresholds as they were before `changes`, the latest of which are undone first."""
    reverted = dict(thresholds_now)
    for change in reversed(changes):
        if change.before is None:
            reverted.pop(change.label, None)
        else:
            reverted[change.label] = change.before
    return reverted


def _change(label: str, before: float | None, found: Threshold, target: float) -> Change:
    whose = "all labels, its own being too few" if found.pooled else "its own"
    reason = (
        f"of {found.n} outcomes ({whose}) follows {found.coverage:.1%}, wrongly {found.risk:.1%}; "
        f"expected risk at most {found.bound:.1%} of {target:.1%} allowed"
    )
    return Change(label=label, before=before, after=found.certainty, threshold=found, reason=reason)


def _only(scored: Scored, rows: NDArray[np.bool_]) -> Scored:
    otherwise = None if scored.otherwise is None else scored.otherwise[rows]
    return Scored(scored.certainty[rows], scored.correct[rows], (), otherwise)


def _sums(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many of the first 0, 1, ... n are set; shape (n + 1,)."""
    return np.concatenate([[0], np.cumsum(flags)])


def _last_maximum(values: NDArray[np.float64]) -> int:
    """Of equal successes the one that follows most: what is followed is learned from."""
    return len(values) - 1 - int(values[::-1].argmax())
