"""Plays the world: `python -m chaos.world [--nights 14] [--json] [--plot FILE]`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from chaos.world.deployment import Deployment
from chaos.world.play import Day, Scenario
from chaos.world.plot import draw, markdown


def scenarios(nights: int, tasks: int, seed: int) -> dict[str, Scenario]:
    """Return what is played: the same world, with a drift, and with lies."""
    steady = Scenario(nights=nights, tasks=tasks, seed=seed)
    return {
        "as it is": steady,
        "with a drift": msgspec.structs.replace(steady, drift=nights // 2 + 1),
        "10 % of outcomes made up": msgspec.structs.replace(steady, poisoned=0.1),
    }


def main(  # noqa: PLR0913 - one per option
    *,
    nights: Annotated[int, typer.Option(min=1, help="Rounds of learning.")] = 14,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks a day.")] = 300,
    seed: Annotated[int, typer.Option(help="Plays a run again.")] = 0,
    only: Annotated[str | None, typer.Option(help="Only the scenario of this name.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the plot to this SVG file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Play a company's nights of learning, from the seed model on."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    error = Console(stderr=True)
    histories: dict[str, list[Day]] = {}
    with tempfile.TemporaryDirectory(prefix="cortex-world-") as home:
        deployment = Deployment(Path(home))
        for name, scenario in scenarios(nights, tasks, seed).items():
            if only in {None, name}:
                player = deployment.player(scenario)
                error.print(f"[bold]{name}")
                histories[name] = player.play(lambda day: error.print(_line(day), highlight=False))
    if plot is not None:
        draw(histories, plot)
    if as_json:
        sys.stdout.write(msgspec.json.encode(histories).decode() + "\n")
    else:
        sys.stdout.write(markdown(histories))


def _line(day: Day) -> str:
    return (
        f"{day.day:3}  {day.success:.1%} of {day.oracle:.1%}, rules {day.rules:.1%}"
        f"  {day.verdict} {day.reason}"
    )


if __name__ == "__main__":
    typer.run(main)
