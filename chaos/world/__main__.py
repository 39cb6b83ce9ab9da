"""Plays the world: `python -m chaos.world [--seed N]... [--json] [--plot FILE]`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from chaos.world.deployment import Deployment
from chaos.world.play import Day, Scenario
from chaos.world.plot import draw
from chaos.world.summary import STEADY, Run, nightly_table, summary_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def scenarios(nights: int, tasks: int, seed: int) -> dict[str, Scenario]:
    """Return what is played: the same world, with a drift, and with lies."""
    steady = Scenario(nights=nights, tasks=tasks, seed=seed)
    return {
        STEADY: steady,
        "with a drift": msgspec.structs.replace(steady, drift=nights // 2 + 1),
        "10 % of outcomes made up": msgspec.structs.replace(steady, poisoned=0.1),
    }


def main(  # noqa: PLR0913 - one per option
    *,
    nights: Annotated[int, typer.Option(min=1, help="Rounds of learning.")] = 14,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks a day.")] = 300,
    seed: Annotated[list[int], typer.Option(help="Plays a run again; may be repeated.")] = [0],  # noqa: B006 - typer copies it
    only: Annotated[str | None, typer.Option(help="Only the scenario of this name.")] = None,
    read: Annotated[
        list[Path] | None, typer.Option(help="Play nothing; take what --json wrote to this file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the plot to this SVG file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Play a company's nights of learning, from the seed model on."""
    if read:
        runs = [
            run for path in read for run in msgspec.json.decode(path.read_bytes(), type=list[Run])
        ]
    else:
        runs = [*_play(nights, tasks, seed, only)]
    if plot is not None:
        draw(runs, plot)
    if as_json:
        sys.stdout.write(msgspec.json.encode(runs).decode() + "\n")
    else:
        sys.stdout.write(nightly_table(runs) + "\n" + summary_table(runs))


def _play(nights: int, tasks: int, seeds: Sequence[int], only: str | None) -> Iterator[Run]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    error = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="cortex-world-") as home:
        deployment = Deployment(Path(home))
        for seed in seeds:
            for name, scenario in scenarios(nights, tasks, seed).items():
                if only in {None, name}:
                    error.print(f"[bold]{name}, seed {seed}")
                    days = deployment.player(scenario).play(
                        lambda day: error.print(_line(day), highlight=False, soft_wrap=True)
                    )
                    yield Run(scenario=name, seed=seed, days=days)


def _line(day: Day) -> str:
    return (
        f"{day.day:3}  {day.success:.1%} of {day.oracle:.1%}, rules {day.rules:.1%}"
        f"  {day.verdict} {day.reason}"
    )


if __name__ == "__main__":
    typer.run(main)
