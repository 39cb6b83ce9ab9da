"""Gives a task to another than the best now and then, so that it shows whether the best was best.

What was never tried cannot be judged from logs, however many there are; with known chances it can
(`learning.offpolicy`). Nothing here is drawn at random: a hash of the task's id decides, so that a
decision replays. The chances are cut into whole buckets of that hash, which makes the propensity
that is logged the very share of ids for which this decision falls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.assignment import BUCKETS, buckets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Beyond this what is learned sooner is not worth the tasks that go astray: at 0.1 and two plausible
# masters one task in twenty goes to the second best.
MAX_EXPLORATION = 0.1
# A master the model gives less than this is not plausible. It also bounds the cost of a detour.
PLAUSIBLE = 0.05


def epsilon_greedy(
    scores: Mapping[str, float], exploration: float, chances: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the chances of the best master and of those that are plausible beside it.

    With probability `exploration` the choice is among the plausible, the best included: evenly, or
    as `chances` has it; otherwise it is the best (Sutton & Barto 2018, "Reinforcement Learning",
    section 2.2).

    Args:
        scores: calibrated probability per master, at least one.
        exploration: 0-1; more than `MAX_EXPLORATION` counts as that much.
        chances: how likely each master is to be explored, not negative; None is evenly.

    Returns:
        Chance per plausible master, in the order of `scores`; they sum to 1.
    """
    share = min(exploration, MAX_EXPLORATION)
    best = max(scores, key=scores.__getitem__)
    plausible = [name for name, score in scores.items() if score >= PLAUSIBLE or name == best]
    weights = dict.fromkeys(plausible, 1.0)
    if chances is not None:
        weights = {name: chances.get(name, 0.0) for name in plausible}
    total = sum(weights.values()) or 1.0
    explored = {name: share * weight / total for name, weight in weights.items()}
    explored[best] += 1.0 - sum(explored.values())
    return explored


def places(experiment: str, task_ids: Sequence[str]) -> list[int]:
    """Return where each task falls in a draw: 0-9999, by a hash of its id.

    Args:
        experiment: seed; the place does not depend on who of that experiment is in treatment.
        task_ids: n ids.
    """
    # No experiment's name contains a slash.
    drawn: list[int] = buckets(f"{experiment}/explore", task_ids).tolist()
    return drawn


def draw(chances: Mapping[str, float], place: int) -> tuple[str, float]:
    """Choose by a task's place.

    Args:
        chances: probability per choice, at least one; sums to 1 but for rounding.
        place: 0-9999, as `places` returns it.

    Returns:
        The choice, and its propensity: the share of places that lead to it, a multiple of 1/10000
        above 0 that differs from its chance by less than that.
    """
    end = 0
    for name, width in _whole_buckets(chances).items():
        end += width
        if place < end:
            return name, width / BUCKETS
    raise ValueError(f"chances sum to {sum(chances.values())}, not 1")


def _whole_buckets(chances: Mapping[str, float]) -> dict[str, int]:
    """Cut all buckets in proportion to the chances, by largest remainder (Hamilton's method)."""
    exact = {name: chance * BUCKETS for name, chance in chances.items()}
    cut = {name: int(width) for name, width in exact.items()}
    left = BUCKETS - sum(cut.values())
    for name in sorted(exact, key=lambda name: cut[name] - exact[name])[:left]:
        cut[name] += 1
    return cut
