"""`cortex worker`, `indexer`, `learner` and `watch`: the long-running processes."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer


def worker() -> None:
    """Route tasks until told to stop; TERM drains first. Settings come from the environment."""
    from ops.stopping import exit_on_term
    from worker.app import main

    exit_on_term()  # while it waits for its server; then it drains instead
    raise typer.Exit(main())


def indexer() -> None:
    """Keep the index in step with the file changes; TERM finishes what was begun."""
    from indexer.app import main
    from ops.stopping import exit_on_term

    exit_on_term()
    raise typer.Exit(main())


def learner() -> None:
    """Keep the data set of decisions and outcomes; TERM writes what is held."""
    from learning.app import main
    from ops.stopping import exit_on_term

    exit_on_term()
    raise typer.Exit(main())


def watch(
    directory: Annotated[Path, typer.Argument(exists=True, file_okay=False, metavar="DIR")],
) -> None:
    """Publish a directory's changes to the stream `files`, as its .gitignore allows."""
    from indexer.watch import watch_directory
    from ops.session import open_session, read_settings
    from ops.stopping import exit_on_term
    from streams.connect import FOREVER
    from telemetry.logs import configure

    settings = read_settings()
    configure("watch", settings.log_level)
    exit_on_term()
    # watchfiles raises KeyboardInterrupt whatever the handler of a signal raised. A watch has no
    # other end, so either counts as success, as it does for workers and indexers.
    with (
        open_session(settings, patience=FOREVER) as (client, keys, _),
        suppress(KeyboardInterrupt),
    ):
        watch_directory(client, keys, directory)
