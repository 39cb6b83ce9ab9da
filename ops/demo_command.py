"""`cortex demo`: the options; the demonstration itself is `ops.demo`."""

from pathlib import Path
from typing import Annotated

import typer

from ops.options import AsJson


def demo(
    *,
    tasks: Annotated[int, typer.Option(min=1, help="How many tasks to submit.")] = 1_000,
    workers: Annotated[int, typer.Option(min=1, help="How many worker processes.")] = 2,
    source: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Directory to index.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Run the whole system on real input; succeed only if no task was lost or doubled."""
    from ops.demo import run_demo

    raise typer.Exit(run_demo(tasks, workers, source, as_json))
