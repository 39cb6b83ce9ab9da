"""`cortex submit`: push tasks, each checked here before the first is sent."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.session import Session
    from ops.tasks import Given

_BATCH = 500  # tasks per exchange
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
    as_json: AsJson = False,
) -> None:
    """Push tasks: one TEXT, or a file of them. Prints their ids.

    All tasks are checked before the first is sent. Nothing is sent twice by itself; submitting the
    same ids again within the idempotency window is safe.
    """
    from ops.output import print_json, print_line
    from ops.session import open_session
    from ops.tasks import Given, read_tasks, single_task

    if text is not None and file is None:
        tasks = [Given(single_task(text, task_id=task_id, metadata=metadata), None)]
    elif file is not None and text is None and task_id is None and metadata is None:
        tasks = list(read_tasks(file))
    else:
        raise typer.BadParameter(
            "give either TEXT, with --id and --metadata if you like, or --file"
        )
    with open_session() as session:
        _send(session, tasks, priority)
    if as_json:
        ids = [given.task.task_id for given in tasks]
        print_json({"submitted": len(ids), "task_ids": ids})
    else:
        for given in tasks:
            print_line(given.task.task_id)


def _send(session: "Session", tasks: "Sequence[Given]", priority: str) -> None:
    from ops.output import progress_bar

    with progress_bar("Submitting") as update:
        for start in range(0, len(tasks), _BATCH):
            _send_batch(session, tasks[start : start + _BATCH], priority, sent=start)
            update(start, len(tasks))


def _send_batch(session: "Session", batch: "Sequence[Given]", priority: str, *, sent: int) -> None:
    """Send some tasks. A reply that is lost is not asked for again: that would add tasks twice."""
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import TimeoutError as RedisTimeoutError

    from contracts.encode import task_fields
    from contracts.errors import TransientError

    client, keys, _ = session
    streams = dict(zip(("high", "normal", "low"), keys.task_streams, strict=True))
    pipeline = client.pipeline(transaction=False)
    for given in batch:
        stream = streams[given.priority or priority]
        pipeline.xadd(stream, dict(task_fields(given.task).items()))
    try:
        replies = pipeline.execute(raise_on_error=False)
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise TransientError(
            f"the reply was lost ({error}): {sent} tasks submitted, unknown for {len(batch)}, "
            f"{_AGAIN}: {_ids(batch)}"
        ) from error
    refused = [
        (given, reply)
        for given, reply in zip(batch, replies, strict=True)
        if isinstance(reply, Exception)
    ]
    if refused:
        raise TransientError(
            f"{sent + len(batch) - len(refused)} tasks submitted, then refused ({refused[0][1]}), "
            f"{_AGAIN}: {_ids([given for given, _reply in refused])}"
        )


def _ids(batch: "Sequence[Given]") -> str:
    return " ".join(given.task.task_id for given in batch)
