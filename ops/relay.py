"""`cortex relay rq`: moves a master's decisions into an RQ queue, each once."""

import re
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from streams.entry import Entry
    from streams.lane import Lane

app = typer.Typer(no_args_is_help=True, help="Move a master's decisions into another queue.")

_BATCH = 100  # decisions read at once
_BLOCK_MS = 1_000
_POLL = 0.05  # seconds
# RQ 3 allows these characters in a job id (rq/job.py, validate_job_id); task ids may hold any
# visible ASCII. Everything else becomes _ and two hexadecimal digits behind this prefix.
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_TO_ESCAPE = re.compile(r"[^A-Za-z0-9-]")
_ESCAPED = re.compile(r"_([0-9A-F]{2})")
_PREFIX = "_x"


class Job(NamedTuple):
    """What becomes of a decision in RQ.

    Attributes:
        queue: name of the RQ queue.
        function: dotted path of the function that gets the decision as a dict.
        timeout_s: how long it may take.
        window_ms: how long a task id is remembered as relayed.
    """

    queue: str
    function: str
    timeout_s: int
    window_ms: int


@app.callback()
def _group() -> None:
    """Move a master's decisions into another queue."""


@app.command()
def rq(
    name: Annotated[str, typer.Argument(help="The master; also the name of the RQ queue.")],
    *,
    function: Annotated[
        str, typer.Option(help="Dotted path of what RQ's worker calls with the decision (a dict).")
    ] = "cortex_master.handle",
    timeout: Annotated[int, typer.Option(min=1, help="Seconds a job may take.")] = 180,
    burst: Annotated[bool, typer.Option("--burst", help="Stop when nothing is left.")] = False,
) -> None:
    """Move decisions of a master into the RQ queue NAME, for RQ 3 workers with its JSON serializer.

    A job's id is the task id, escaped where RQ does not allow it.
    """
    from redis.cluster import RedisCluster

    from contracts.errors import FatalError
    from ops.session import open_session, read_settings
    from ops.stopping import exit_on_term
    from streams.connect import FOREVER
    from streams.consumer import Consumer
    from streams.lane import Lane

    exit_on_term()
    settings = read_settings()
    job = Job(name, function, timeout, settings.idempotency_seconds * 1_000)
    with open_session(settings, patience=None if burst else FOREVER) as session:
        client = session.client
        in_cluster = isinstance(client, RedisCluster)
        if in_cluster:
            raise FatalError(
                "RQ does not run on a cluster: its jobs, queues and sets live in different slots. "
                f"Use `cortex master {name}`, or any client, to take decisions from a cluster"
            )
        lanes = [
            Lane(Consumer(client, (part.master(name),), name, settings.name), part)
            for part in session.parts
        ]
        for lane in lanes:
            lane.consumer.join()
        try:
            relay(lanes, job, burst=burst)
        finally:
            for lane in lanes:
                lane.consumer.leave()


def relay(lanes: "Sequence[Lane]", job: Job, *, burst: bool = False) -> None:
    """Move decisions until there are none (`burst`) or for ever.

    Raises:
        redis.RedisError: what was not moved is still pending; calling again goes on.
    """
    # Of several partitions none is waited for: a round of looks, then a short rest.
    block_ms = 0 if burst or len(lanes) > 1 else _BLOCK_MS
    while True:
        moved = sum(_relay_some(lane, job, block_ms) for lane in lanes)
        if burst and not moved:
            return
        if not moved and not block_ms:
            time.sleep(_POLL)


def _relay_some(lane: "Lane", job: Job, block_ms: int) -> int:
    consumer = lane.consumer
    entries = [
        entry for stale in consumer.stale(_BATCH) if (entry := consumer.claim(stale))
    ] or consumer.read(_BATCH, block_ms)
    for entry in entries:
        enqueue(entry, lane, job)
    return len(entries)


def enqueue(entry: "Entry", lane: "Lane", job: Job) -> bool:
    """Enqueue one held decision and acknowledge it, in one step.

    Returns:
        False if there was nothing to do: it is another consumer's by now, its task was relayed
        before, or it was malformed and is a dead letter now.

    Raises:
        redis.RedisError: it is unknown whether it was moved; calling again moves it once.
    """
    from streams.master import decision_of
    from streams.scripts import run

    decision = decision_of(lane, entry)
    if decision is None:
        return False
    consumer = lane.consumer
    rq_job, names = _rq_job(consumer.client, job, decision.task_id, entry.fields[b"decision"])
    mark = lane.keys.relayed(consumer.group, decision.task_id)
    moved = run(
        consumer.client,
        "relay",
        [entry.stream, *names, mark],
        [consumer.group, consumer.name, entry.id, job_id(decision.task_id), job.window_ms, *rq_job],
    )
    return bool(moved == 1)


def job_id(task_id: str) -> str:
    """Return the RQ job id of a task: the task id itself where RQ allows it, else escaped."""
    if _PLAIN.fullmatch(task_id) and not task_id.startswith(_PREFIX):
        return task_id
    return _PREFIX + _TO_ESCAPE.sub(lambda match: f"_{ord(match[0]):02X}", task_id)


def task_id_of(job_id: str) -> str:
    """Return the task id of an RQ job id that `job_id` made."""
    if not job_id.startswith(_PREFIX):
        return job_id
    escaped = job_id.removeprefix(_PREFIX)
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), escaped)


def _rq_job(
    client: "Redis", job: Job, task_id: str, decision: bytes
) -> tuple[list[str | bytes | int], list[str]]:
    """Return the fields of the job's hash, and RQ's keys: queue, set of queues, job."""
    import msgspec
    from rq import Queue
    from rq.job import Job as RqJob
    from rq.job import JobStatus
    from rq.serializers import JSONSerializer
    from rq.utils import now

    queue = Queue(job.queue, connection=client, serializer=JSONSerializer)
    rq_job = RqJob.create(
        job.function,
        args=(msgspec.json.decode(decision),),
        id=job_id(task_id),
        origin=queue.name,
        status=JobStatus.QUEUED,
        timeout=job.timeout_s,
        description=f"Cortex decision on {task_id}",
        connection=client,
        serializer=JSONSerializer,
    )
    rq_job.enqueued_at = now()
    fields = [part for pair in rq_job.to_dict().items() for part in pair]
    return fields, [queue.key, Queue.redis_queues_keys, rq_job.key]
