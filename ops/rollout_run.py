"""`cortex rollout run`: the controller, as a process, once, or by the clock."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from ops.session import Session
    from rollout.controller import Controller
    from rollout.decide import Step
    from worker.settings import Settings

QUEUE = "rollout"
_TIMEOUT_S = 600  # an evaluation reads at most what the streams keep


def run(
    *,
    once: Annotated[bool, typer.Option("--once", help="Evaluate once and print it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Evaluate and say what would be done; change nothing.")
    ] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Time between two evaluations.",
            show_default="the plan's",
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="CRON",
            help='Evaluate by the clock until told to stop, for example at "* * * * *".',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take the rollout through its stages: advance, hold, pause or roll back, and log why.

    Any number may run; one at a time leads. TERM stops it, and another takes over at once. By the
    clock, evaluations are jobs of the RQ queue `rollout`; a worker of RQ must work it off.
    """
    from ops.rollout_view import read_plan
    from ops.session import open_session, read_settings
    from streams.connect import FOREVER

    if schedule is not None:
        _by_the_clock(schedule)
        return
    settings, plan = (
        read_settings(),
        read_plan(),
    )  # wrong ones are said before anything is waited for
    with open_session(settings, patience=None if once else FOREVER) as session:
        controller = _controller(settings, session, dry_run=dry_run)
        if once:
            _print(controller.once(), as_json=as_json)
        else:
            _keep_running(settings, controller, interval or plan.interval_s)


def evaluate() -> dict[str, Any]:
    """Evaluate once, as the environment says; what RQ's worker calls.

    Returns:
        What was done and why, as plain values; RQ keeps it as the job's result.

    Raises:
        CortexError: it could not be evaluated; RQ keeps the job among those that failed.
    """
    from ops.session import open_session, read_settings

    settings = read_settings()
    with open_session(settings) as session:
        return _as_dict(_controller(settings, session, dry_run=False).once())


def _controller(settings: "Settings", session: "Session", *, dry_run: bool) -> "Controller":
    from ops.rollout_view import read_plan
    from rollout.controller import Controller

    client, _, parts = session
    return Controller(client, parts, read_plan(), settings.fresh_config, dry_run=dry_run)


def _keep_running(settings: "Settings", controller: "Controller", interval_s: float) -> None:
    import signal
    import threading

    from telemetry.logs import configure

    configure("rollout", settings.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    controller.run(stopping, interval_s)


def _by_the_clock(cron: str) -> None:
    from contextlib import suppress

    from rq.exceptions import StopRequested

    from ops.session import open_session
    from streams.connect import FOREVER
    from streams.cron import scheduler

    # A signal may get past the scheduler as the very exception it stops itself by.
    with suppress(StopRequested), open_session(patience=FOREVER) as (client, _, _):
        scheduler(
            client,
            cron,
            queue=QUEUE,
            function=evaluate,
            timeout_s=_TIMEOUT_S,
            instead="cortex rollout run --once",
        ).start()  # type: ignore[no-untyped-call] # RQ's, not annotated


def _print(step: "Step | None", *, as_json: bool) -> None:
    from ops.output import print_json, print_line, print_table

    if as_json:
        print_json(_as_dict(step))
        return
    if step is None:
        print_line("another controller leads")
        return
    print_line(f"{step.action.kind}: {step.action.reason}")
    if step.verdicts:
        print_line("")
        print_table(
            ("gate", "answer", "what was measured"),
            [
                (f"{v.gate} (dry run)" if v.dry_run else v.gate, v.answer, v.sentence)
                for v in step.verdicts
            ],
        )


def _as_dict(step: "Step | None") -> dict[str, Any]:
    from rollout.decide import as_dict

    return {"kind": "hold", "reason": "another controller leads"} if step is None else as_dict(step)
