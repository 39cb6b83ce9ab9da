"""What runs of the world came to: how far from the oracle they end, how soon they recover."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

from msgspec import Struct

from chaos.world.play import Day

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STEADY = "as it is"  # the scenario that others are compared with
NEAR = 0.03  # of all tasks; whoever fails no more than this beyond the oracle's knows its company
_LAST = 5  # days that a loss is averaged over: one day has luck in which kinds are filed


class Run(Struct, frozen=True, kw_only=True):
    """One run of a scenario.

    Attributes:
        scenario: its name.
        seed: what repeats it.
        days: from the seed model's on.
    """

    scenario: str
    seed: int
    days: list[Day]


def by_scenario(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return the runs of each scenario, in the order of their first."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.scenario].append(run)
    return dict(found)


def gap(day: Day) -> float:
    """Return by how much the oracle would have been better, as a share of all tasks."""
    return day.oracle - day.success


def nights_to_recover(days: Sequence[Day]) -> int | None:
    """Return after how many nights of learning since the drift the gap is near again.

    Returns:
        0 if the very day of the drift is near; None if there was no drift, or it never is.
    """
    drift = next((day.day for day in days if day.drifted), None)
    if drift is None:
        return None
    return next((day.day - drift for day in days if day.day >= drift and gap(day) <= NEAR), None)


def nightly_table(runs: Sequence[Run]) -> str:
    """Lay out in Markdown how success went night by night, averaged over seeds."""
    scenarios = by_scenario(runs)
    rows = [
        [
            str(number),
            *(_of_oracle([run.days[number] for run in each]) for each in scenarios.values()),
        ]
        for number in range(min(len(run.days) for run in runs))
    ]
    return _table(["nights of learning", *scenarios], rows)


def summary_table(runs: Sequence[Run]) -> str:
    """Lay out in Markdown what each run came to."""
    steady = {run.seed: run for run in runs if run.scenario == STEADY}
    rows = [_summary(run, steady.get(run.seed)) for run in runs]
    return _table(
        ["", "seed", "start", "end", "oracle", "gap", "nights to recover", f"less than {STEADY}"],
        rows,
    )


def _summary(run: Run, steady: Run | None) -> list[str]:
    first, last = run.days[0], run.days[-1]
    recovered = nights_to_recover(run.days)
    drifted = any(day.drifted for day in run.days)
    lost = "" if steady is None or steady is run or drifted else f"{_lost(run, steady):.1f}"
    return [
        run.scenario,
        str(run.seed),
        f"{first.success:.1%}",
        f"{last.success:.1%}",
        f"{last.oracle:.1%}",
        f"{100 * gap(last):.1f}",
        ("never" if recovered is None else str(recovered)) if drifted else "",
        lost,
    ]


def _lost(run: Run, steady: Run) -> float:
    """Return how many percent points fewer tasks succeed than in the steady run, at the end."""
    ends = [fmean(day.success for day in each.days[-_LAST:]) for each in (steady, run)]
    return 100 * (ends[0] - ends[1])


def _of_oracle(days: Sequence[Day]) -> str:
    return f"{fmean(day.success for day in days):.1%} of {fmean(day.oracle for day in days):.1%}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
