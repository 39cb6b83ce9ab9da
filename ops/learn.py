"""`cortex learn`: one round of the nightly job, now or by the clock."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from learning.rounds import Round


def learn(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and compare, but register nothing.")
    ] = False,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="CRON",
            help='Run rounds by the clock until told to stop, for example at "0 3 * * *".',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn from outcomes: train, compare with the champion, register, show in shadow.

    A round that has nothing to learn from, or whose model is worse, says so and succeeds. By the
    clock, rounds are jobs of the RQ queue `learning`; a worker of RQ must work it off.
    """
    if schedule is not None:
        _by_the_clock(schedule)
        return
    from learning.nightly import run
    from learning.workshop import open_workshop
    from ops.output import print_json, print_table, progress_bar

    with progress_bar("learning") as show:

        def progress(_step: str, done: int, total: int) -> None:
            show(done, total)

        with open_workshop(os.environ, progress) as workshop:
            done = run(workshop, dry_run=dry_run)
    if as_json:
        print_json(done)
    else:
        print_table(("round", ""), _rows(done))


def _by_the_clock(cron: str) -> None:
    from contextlib import suppress

    from rq.exceptions import StopRequested

    from learning.schedule import scheduler
    from ops.session import open_session
    from streams.connect import FOREVER

    # A signal may get past the scheduler as the very exception it stops itself by.
    with suppress(StopRequested), open_session(patience=FOREVER) as (client, _, _):
        scheduler(client, cron).start()  # type: ignore[no-untyped-call] # RQ's, not annotated


def _rows(done: "Round") -> "list[tuple[str, object]]":
    compared = done.comparison
    return [
        ("verdict", done.verdict),
        ("reason", done.reason),
        ("model", done.version),
        ("champion", done.champion),
        ("outcomes", done.outcomes),
        ("new since the champion", done.new),
        *([("held back", compared.n)] if compared else []),
        *(("threshold", f"{each.label}: {each.reason}") for each in done.threshold_changes),
        ("seconds", done.seconds),
    ]
