"""`cortex submit`: push tasks, each checked here before the first is sent."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.session import Session
    from ops.tasks import Given

_BATCH = 500  # tasks per exchange
_LONG = 5_000  # tasks from which on a bar is shown


def submit(  # noqa: PLR0913 (one per option)
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
    """Send in batches. A reply that is lost is not asked for again: that would add tasks twice."""
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import TimeoutError as RedisTimeoutError

    from contracts.encode import task_fields
    from contracts.errors import TransientError
    from ops.output import progress

    client, keys = session
    streams = dict(zip(("high", "normal", "low"), keys.task_streams, strict=True))
    batches = [tasks[start : start + _BATCH] for start in range(0, len(tasks), _BATCH)]
    for sent, batch in enumerate(progress(batches, "Submitting", long=len(tasks) >= _LONG)):
        pipeline = client.pipeline(transaction=False)
        for given in batch:
            stream = streams[given.priority or priority]
            pipeline.xadd(stream, dict(task_fields(given.task).items()))
        try:
            replies = pipeline.execute(raise_on_error=False)
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise TransientError(_unknown(sent * _BATCH, batch, error)) from error
        if refused := [reply for reply in replies if isinstance(reply, Exception)]:
            done = sent * _BATCH + len(batch) - len(refused)
            raise TransientError(
                f"{done} of {len(tasks)} tasks submitted, the others refused: {refused[0]}; "
                "submitting the same ids again within the idempotency window doubles nothing"
            )


def _unknown(sent: int, batch: "Sequence[Given]", error: Exception) -> str:
    ids = " ".join(given.task.task_id for given in batch)
    return (
        f"the reply was lost ({error}): {sent} tasks submitted, unknown for {len(batch)}; "
        f"submitting the same ids again within the idempotency window doubles nothing: {ids}"
    )
