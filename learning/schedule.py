"""Runs the nightly round by the clock: a cron job of RQ, worked off by any of RQ's workers.

RQ's own cron scheduler enqueues with pickle, whatever serializer its workers have
(`rq.cron.CronJob.enqueue`, RQ 3.0), and so does `rq cron` with a configuration file. Ours is the
same scheduler with JSON, which the workers of our relay speak too and which runs nobody's code.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
from redis.cluster import RedisCluster
from rq import Queue
from rq.cron import CronJob, CronScheduler
from rq.serializers import JSONSerializer

from contracts.errors import FatalError

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job

QUEUE = "learning"
TIMEOUT_S = 2 * 3600  # a round takes minutes; one that hangs must be gone before the next night
_RESULT_TTL_S = 7 * 24 * 3600


class JsonCronJob(CronJob):
    """A cron job whose jobs are JSON. RQ's list of its runs is not kept: `rounds.jsonl` is."""

    def enqueue(self, connection: Redis) -> Job:
        """Enqueue the job."""
        if self.func is None:
            raise FatalError(f"the cron job {self.name} has no function to run")
        queue = Queue(self.queue_name, connection=connection, serializer=JSONSerializer)
        return queue.enqueue(self.func, args=self.args, kwargs=self.kwargs, **self.job_options)


def scheduler(client: Redis, cron: str) -> CronScheduler:
    """Return a scheduler of the nightly round; its `start` runs until it is told to stop.

    Any number may run: the round itself is one at a time, and refused if nothing is new.

    Args:
        client: connection to the queue's server.
        cron: when, as five fields in the machine's local time: `0 3 * * *` is every night at three.

    Raises:
        FatalError: `cron` is malformed, or the queue is on a cluster, where RQ does not run.
    """
    in_cluster = isinstance(client, RedisCluster)
    if in_cluster:
        raise FatalError(
            "RQ does not run on a cluster: its jobs, queues and sets live in different slots. "
            "Have cron, or a CronJob of Kubernetes, run `cortex learn`"
        )
    try:
        job = JsonCronJob(
            QUEUE, nightly, cron=cron, job_timeout=TIMEOUT_S, result_ttl=_RESULT_TTL_S
        )
    except ValueError as error:  # croniter's errors are that
        raise FatalError(f"{cron!r} is no schedule: {error}") from error
    ours = CronScheduler(connection=client)
    ours.get_jobs().append(job)  # `register` would make RQ's kind, which pickles
    return ours


def nightly() -> dict[str, Any]:
    """Run one round, as the environment says; what RQ's worker calls.

    Returns:
        The round as plain values; RQ keeps it as the job's result.

    Raises:
        CortexError: the round could not be run; RQ keeps the job among those that failed.
    """
    from learning.nightly import run  # noqa: PLC0415 - torch loads where it runs
    from learning.workshop import open_workshop  # noqa: PLC0415 - likewise

    with open_workshop(os.environ) as workshop:
        result: dict[str, Any] = msgspec.to_builtins(run(workshop))
    return result
