"""The program `cortex`: wires the commands up. What each does stands in its own module."""

import os
import sys
from typing import Annotated

import typer

from contracts.errors import CortexError
from ops import (
    archiver,
    audit,
    dead,
    demo_command,
    doctor,
    evaluate,
    evaluate_retrieval,
    export,
    index,
    learn,
    master,
    model,
    monitor,
    processes,
    queues,
    relay,
    rollout,
    route,
    search,
    submit,
    train,
)

app = typer.Typer(
    name="cortex",
    help="Route tasks from a Redis stream to masters, exactly once, with context from your code.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cortex {version('cortex')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Hold the options of the program itself."""


app.command("demo")(demo_command.demo)
app.command("worker")(processes.worker)
app.command("indexer")(processes.indexer)
app.command("learner")(processes.learner)
app.command("archiver")(archiver.archiver)
app.command("learn")(learn.learn)
app.command("train")(train.train)
app.command("watch")(processes.watch)
app.command("submit")(submit.submit)
app.command("master")(master.master)
app.add_typer(relay.app, name="relay")
app.command("route")(route.route)
app.add_typer(index.app, name="index")
app.command("search")(search.search)
app.command("evaluate")(evaluate.evaluate)
app.command("evaluate-retrieval")(evaluate_retrieval.evaluate_retrieval)
app.command("export")(export.export)
app.command("queues")(queues.queues)
app.add_typer(dead.app, name="dead")
app.add_typer(rollout.app, name="rollout")
app.add_typer(model.app, name="model")
app.command("monitor")(monitor.monitor)
app.command("doctor")(doctor.doctor)
app.add_typer(audit.app, name="audit")


def main() -> None:
    """Run the program: exit 0 on success, 1 with one line on stderr, 2 on wrong usage."""
    # Several of our processes share a machine: with a thread per core each, all of them crawl.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        app(prog_name="cortex")
    except CortexError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        _fail(f"{package} is not installed; pip install 'cortex[all]' brings all there is")
    except Exception as error:
        if os.environ.get("CORTEX_DEBUG"):
            raise
        _fail(f"internal error: {type(error).__name__}: {error} (CORTEX_DEBUG=1 shows where)")


def _fail(reason: str) -> None:
    sys.stderr.write(f"cortex: {' '.join(reason.split())}\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
