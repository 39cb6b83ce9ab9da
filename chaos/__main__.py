"""Plays the matrix: `python -m chaos [--seed N] [--row NAME ...] [--bounded] [--json]`."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from chaos.matrix import play
from chaos.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.matrix import Played

SEEDS = Path(__file__).with_name("seeds.txt")  # "<row> <seed>": what failed once, played for ever


def main(
    *,
    seed: Annotated[int | None, typer.Option(help="Plays a run again. Default: by chance.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be repeated.")] = None,
    bounded: Annotated[bool, typer.Option("--bounded", help="As the tests do: smaller.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a row.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown.")] = False,
) -> None:
    """Inject every fault of the matrix and print what came of it; 0 only if all promises held."""
    seed = random.randrange(2**32) if seed is None else seed
    known = {each.name: each for each in ROWS}
    if unknown := set(row or ()) - known.keys():
        raise typer.BadParameter(f"no row {min(unknown)!r}; there are {', '.join(known)}")
    chosen = [known[name] for name in row] if row else list(ROWS)
    error = Console(stderr=True)
    error.print(f"seed {seed}")
    played = []
    for each in chosen:
        for each_seed in [*failed_before(each.name), seed]:
            played.append(play(each, each_seed, full=not bounded))
            error.print(_line(played[-1]))
    if as_json:
        for one in played:
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
    elif markdown:
        sys.stdout.write(as_markdown(played))
    else:
        Console().print(_table(played))
    raise typer.Exit(not all(one.result.passed for one in played))


def failed_before(name: str) -> list[int]:
    """Seeds with which a row failed once."""
    lines = (line.partition("#")[0].split() for line in SEEDS.read_text().splitlines())
    return [int(words[1]) for words in lines if words and words[0] == name]


_HEAD = ("fault", "runs", "lost", "doubled", "recovery s", "holds", "")


def _cells(one: Played) -> tuple[str, ...]:
    result = one.result
    recovery = "" if result.recovery is None else f"{result.recovery:.1f}"
    holds = "yes" if result.passed else "NO"
    counts = (str(result.runs), str(result.lost), str(result.doubled))
    return (one.name, *counts, recovery, holds, result.note)


def _table(played: Sequence[Played]) -> Table:
    table = Table(*_HEAD)
    for one in played:
        table.add_row(*_cells(one), style=None if one.result.passed else "red")
    return table


def as_markdown(played: Sequence[Played]) -> str:
    """The table, for a document."""
    rows = [_HEAD, tuple("---" for _ in _HEAD), *map(_cells, played)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _line(one: Played) -> str:
    said = f"{one.name}: {'held' if one.result.passed else 'BROKEN'} in {one.seconds} s"
    if one.result.passed:
        return said
    again = f"python -m chaos --row {one.name} --seed {one.seed}"
    return "\n  ".join([said, *one.result.violations, f"again: {again}"])


if __name__ == "__main__":
    typer.run(main)
