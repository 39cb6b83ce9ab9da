"""Leaves rollouts to their controller: `python -m chaos.rollout [--seeds N] [--only NAME]`."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import typer
from msgspec import Struct
from rich.console import Console
from rich.progress import track
from rich.table import Table

from chaos.rollout.company import RULES_RIGHT
from chaos.rollout.play import BATCH, HEARD, Run, Scenario, hurried, play
from chaos.servers import Server
from rollout.settings import Settings
from rollout.stages import Plan
from rollout.statistics import planning

if TYPE_CHECKING:
    from redis import Redis

_BAD = 0.6
_NEVER_S = 1e9
_PATIENCE_S = 0.3  # of the scenario in which nothing is heard
_DAY_S = 86_400.0  # a stage lasts at least that long, so it is not left in the scenario


class Case(Struct, frozen=True):
    """A scenario, the plan for it, and how it should end.

    Attributes:
        right: beginning of `Run.ended` as it should be.
    """

    scenario: Scenario
    plan: Plan
    right: str


class Result(Struct, frozen=True, kw_only=True):
    """What the runs of a case came to.

    Attributes:
        outcomes: of the runs that ended as they should, until they did; quantiles.
        units: decisions, likewise.
    """

    case: str
    runs: list[Run]
    right: int
    ended: dict[str, int]
    outcomes: dict[str, float]
    units: dict[str, float]


def cases(plan: Plan) -> dict[str, Case]:
    """Return everything that is played."""
    quick = hurried(plan, patience_s=_NEVER_S)
    return {
        "bad, put into canary": Case(Scenario(model_right=_BAD), quick, "rolled back"),
        "bad, from shadow on": Case(Scenario(model_right=_BAD, stage="shadow"), quick, "paused"),
        "equally good": Case(Scenario(model_right=RULES_RIGHT, stage="shadow"), quick, "in full"),
        "no outcomes": Case(
            Scenario(model_right=RULES_RIGHT, heard=0.0),
            hurried(plan, patience_s=_PATIENCE_S),
            "paused",
        ),
        "5 % of treatment lost": Case(
            Scenario(model_right=RULES_RIGHT, dropped=0.05, stage="half"),
            hurried(plan, patience_s=_NEVER_S, min_time_s=_DAY_S),
            "rolled back",
        ),
    }


def main(
    *,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each case.")] = 20,
    only: Annotated[str | None, typer.Option(help="Only the case of this name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Play each case with several seeds under the stages and gates of the plan that is shipped."""
    plan = Settings().plan
    chosen = {name: case for name, case in cases(plan).items() if only in {None, name}}
    if not chosen:
        raise typer.BadParameter(f"there are {', '.join(cases(plan))}", param_hint="--only")
    with tempfile.TemporaryDirectory() as home, Server(Path(home)) as server:
        client = server.client()
        results = [_result(client, name, case, seeds) for name, case in chosen.items()]
    predicted = _predicted(plan)
    if as_json:
        done = {"predicted": predicted, "results": results}
        sys.stdout.write(msgspec.json.encode(done).decode() + "\n")
        return
    _show(results, predicted)


def _result(client: Redis, name: str, case: Case, seeds: int) -> Result:
    console = Console(stderr=True)
    runs = [
        play(client, case.plan, case.scenario, seed)
        for seed in track(range(seeds), name, console=console, transient=True)
    ]
    right = [run for run in runs if run.ended.startswith(case.right)]
    return Result(
        case=name,
        runs=runs,
        right=len(right),
        ended=Counter(run.ended for run in runs),
        outcomes=_quantiles([run.outcomes for run in right]),
        units=_quantiles([run.units for run in right]),
    )


def _predicted(plan: Plan) -> dict[str, float]:
    """Outcomes until the bad model is known for one, by simulation of the statistics alone."""
    canary = next(stage for stage in plan.stages if stage.percentage > 0)
    scenario = planning.Scenario(RULES_RIGHT, _BAD, canary.percentage)
    looks = round(BATCH * HEARD)
    return _quantiles(planning.outcomes_until(scenario, alpha=plan.alpha, look_every=looks))


def _quantiles(values: object) -> dict[str, float]:
    numbers = np.asarray(values, np.float64)
    if not numbers.size:
        return {}
    names = {"median": 0.5, "q95": 0.95, "most": 1.0}
    return {name: float(np.quantile(numbers, share)) for name, share in names.items()}


def _show(results: list[Result], predicted: dict[str, float]) -> None:
    console = Console(width=120)
    table = Table("case", "as it should", "ended", "outcomes: median", "95 %", "most", "decisions")
    for each in results:
        ended = ", ".join(f"{how}: {count}" for how, count in sorted(each.ended.items()))
        figures = [f"{value:,.0f}" for value in each.outcomes.values()] or ["", "", ""]
        units = f"{each.units['median']:,.0f}" if each.units else ""
        table.add_row(each.case, f"{each.right} of {len(each.runs)}", ended, *figures, units)
    console.print(table)
    console.print(
        "predicted outcomes until a bad model in canary is rolled back: "
        + ", ".join(f"{name} {value:,.0f}" for name, value in predicted.items())
    )
    for each in results:
        console.print(f"\n{each.case}, for example: {each.runs[0].reason}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
