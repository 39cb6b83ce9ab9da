"""`cortex submit`: push tasks, each checked here before the first is sent."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.tasks import Given, Priority
    from streams.producer import Producer, Submission, Verdict

_BATCH = 5_000  # tasks between two steps of the progress bar
_AGAIN = "submitting the same ids again within the idempotency window doubles nothing"


def submit(  # noqa: PLR0913 - one per option
    text: Annotated[str | None, typer.Argument(help="What is to be done.")] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="JSONL",
            help='One task a line, {"description", "task_id"?, "metadata"?, "priority"?}; '
            "- is stdin.",
        ),
    ] = None,
    task_id: Annotated[str | None, typer.Option("--id", help="Default: a new UUID.")] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="An object.")] = None,
    priority: Annotated[
        Literal["high", "normal", "low"], typer.Option(help="For tasks that do not say.")
    ] = "normal",
    backlog: Annotated[
        int | None,
        typer.Option(min=1, help="Wait while so many tasks wait or are worked on already."),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long; 0 fails at once.")
    ] = 60.0,
    confirm: Annotated[
        int, typer.Option(min=0, help="Count only what so many replicas have as submitted.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Push tasks: one TEXT, or a file of them. Prints the ids of those that are in the queue.

    All tasks are checked before the first is sent. Nothing is sent twice by itself; submitting the
    same ids again within the idempotency window is safe.
    """
    from ops.session import open_session
    from ops.tasks import Given, read_tasks, single_task
    from streams.producer import Producer

    if text is not None and file is None:
        tasks = [Given(single_task(text, task_id=task_id, metadata=metadata), None)]
    elif file is not None and text is None and task_id is None and metadata is None:
        tasks = list(read_tasks(file))
    else:
        raise typer.BadParameter(
            "give either TEXT, with --id and --metadata if you like, or --file"
        )
    with open_session() as session:
        producer = Producer(
            session.client,
            session.parts,
            backlog_limit=backlog,
            patience=wait,
            confirm_replicas=confirm,
        )
        _report(tasks, _send(producer, tasks, priority), as_json=as_json)


def _send(
    producer: "Producer", tasks: "Sequence[Given]", priority: "Priority"
) -> "dict[int, Submission]":
    """Send tasks until some are not accepted; returns what became of each that was sent."""
    from ops.output import progress_bar

    done: dict[int, Submission] = {}
    with progress_bar("Submitting") as update:
        for each, part in _batches(tasks, priority):
            submissions = producer.submit([tasks[index].task for index in part], each)
            done.update(zip(part, submissions, strict=True))
            update(len(done), len(tasks))
            if any(submission.verdict != "ok" for submission in submissions):
                break
    return done


def _batches(
    tasks: "Sequence[Given]", priority: "Priority"
) -> "Iterator[tuple[Priority, Sequence[int]]]":
    """Yield a priority and the indexes of some tasks that have it, the most urgent first."""
    from streams.producer import PRIORITIES

    for each in PRIORITIES:
        indexes = [i for i, given in enumerate(tasks) if (given.priority or priority) == each]
        for start in range(0, len(indexes), _BATCH):
            yield each, indexes[start : start + _BATCH]


def _report(tasks: "Sequence[Given]", done: "dict[int, Submission]", *, as_json: bool) -> None:
    """Print what is in the queue; what is not, or may not be, is an error."""
    from contracts.errors import TransientError
    from ops.output import print_json, print_line

    ids: dict[Verdict, list[str]] = {"ok": [], "failed": [], "unknown": []}
    for index, given in enumerate(tasks):
        ids[done[index].verdict if index in done else "failed"].append(given.task.task_id)
    if as_json:
        found = {"submitted": len(ids["ok"]), "task_ids": ids["ok"]}
        print_json(found | {"failed": ids["failed"], "unknown": ids["unknown"]})
    else:
        for task_id in ids["ok"]:
            print_line(task_id)
    if left := ids["unknown"] + ids["failed"]:
        why = next(each.error for each in done.values() if each.verdict != "ok")
        counts = [f"{len(ids['ok'])} tasks submitted"]
        counts += [f"unknown for {len(ids['unknown'])}"] if ids["unknown"] else []
        counts += [f"not submitted {len(ids['failed'])}"] if ids["failed"] else []
        raise TransientError(f"{', '.join(counts)} ({why}); {_AGAIN}: {' '.join(left)}")
