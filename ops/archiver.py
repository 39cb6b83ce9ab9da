"""`cortex archiver`: the process that writes the metrics file."""

from pathlib import Path
from typing import Annotated

import typer


def archiver(
    *,
    path: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The metrics file. Default: $METRICS_PATH, or"
            " coordination/metrics/ml-router-metrics.jsonl.",
        ),
    ] = None,
) -> None:
    """Write every decision and outcome to the metrics file; TERM stops at once, losing nothing."""
    from ops.stopping import exit_on_term
    from rollout.archive_app import main

    exit_on_term()  # while it waits for its server
    raise typer.Exit(main(path))
