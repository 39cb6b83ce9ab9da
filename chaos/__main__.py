"""Plays the matrix: `python -m chaos [--seed N] [--row NAME ...] [--bounded] [--jobs N]`."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from chaos.matrix import Played, play
from chaos.rows import ROWS
from chaos.seeds import remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

_KNOWN = {row.name: row for row in ROWS}


def main(  # noqa: PLR0913 - one per option
    *,
    seed: Annotated[int | None, typer.Option(help="Plays a run again. Default: by chance.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be repeated.")] = None,
    bounded: Annotated[bool, typer.Option("--bounded", help="As the tests do: smaller.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Rows played side by side.")] = 2,
    alone: Annotated[bool, typer.Option("--alone", help="Not what failed before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a row.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown.")] = False,
) -> None:
    """Inject every fault of the matrix and print what came of it; 0 only if all promises held."""
    seed = random.randrange(2**32) if seed is None else seed
    if unknown := set(row or ()) - _KNOWN.keys():
        raise typer.BadParameter(f"no row {min(unknown)!r}; there are {', '.join(_KNOWN)}")
    wanted = [
        (name, each)
        for name in row or [each.name for each in ROWS if each.bounded or not bounded]
        for each in [*([] if alone else remembered(name)), seed]
    ]
    error = Console(stderr=True)
    error.print(f"seed {seed}")
    if len(wanted) == 1:
        ((name, seed),) = wanted
        played = [play(_KNOWN[name], seed, full=not bounded)]
        error.print(_line(played[0]))
    else:
        with ThreadPoolExecutor(jobs) as pool:
            played = []
            for one in pool.map(lambda each: _play_apart(*each, bounded=bounded), wanted):
                played.append(one)
                error.print(_line(one))
    if as_json:
        for one in played:
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
    elif markdown:
        sys.stdout.write(as_markdown(played))
    else:
        Console().print(_table(played))
    raise typer.Exit(not all(one.result.passed for one in played))


def _play_apart(name: str, seed: int, *, bounded: bool) -> Played:
    """Play a row in a process of its own: what it leaves behind ends with it."""
    which = ["--row", name, "--seed", str(seed), "--alone", *(["--bounded"] if bounded else [])]
    command = [sys.executable, "-m", "chaos", *which, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return msgspec.json.decode(ran.stdout.splitlines()[-1], type=Played)
    except (IndexError, msgspec.DecodeError) as error:
        raise RuntimeError(f"{' '.join(command)} said nothing: {ran.stderr[-2000:]}") from error


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
