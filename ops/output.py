"""How commands print: one JSON document or a table on stdout, remarks and progress on stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.table import Table

_UNBOUNDED = 100_000  # columns, where no terminal wraps lines


def print_json(value: object) -> None:
    """Print one value as one line of JSON, and flush it, so that a pipe sees it at once."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def print_line(text: str) -> None:
    """Print one line as it is, and flush it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings, whole cells even where the terminal is narrow."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _UNBOUNDED).print(table(columns, rows))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Lay rows out under headings; numbers stand right, None is a dash."""
    from rich.table import Table
    from rich.text import Text

    rows = [tuple(row) for row in rows]
    laid_out = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | None) for row in rows)
        laid_out.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        laid_out.add_row(*(Text(_cell(value)) for value in row))
    return laid_out


def remark(text: str) -> None:
    """Print a remark on stderr, where it does not disturb what a program reads."""
    sys.stderr.write(text + "\n")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, if a person is watching there.

    Yields:
        What to call with the work done so far and all work there is.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.2f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
