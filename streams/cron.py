"""Runs a function by the clock: a cron job of RQ, worked off by any of RQ's workers.

RQ's own cron scheduler enqueues with pickle, whatever serializer its workers have
(`rq.cron.CronJob.enqueue`, RQ 3.0), and so does `rq cron` with a configuration file. Ours is the
same scheduler with JSON, which the workers of our relay speak too and which runs nobody's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.cluster import RedisCluster
from rq import Queue
from rq.cron import CronJob, CronScheduler
from rq.serializers import JSONSerializer

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from rq.job import Job

_RESULT_TTL_S = 7 * 24 * 3600


class JsonCronJob(CronJob):
    """A cron job whose jobs are JSON. RQ's list of its runs is not kept."""

    def enqueue(self, connection: Redis) -> Job:
        """Enqueue the job."""
        if self.func is None:
            raise FatalError(f"the cron job {self.name} has no function to run")
        queue = Queue(self.queue_name, connection=connection, serializer=JSONSerializer)
        return queue.enqueue(self.func, args=self.args, kwargs=self.kwargs, **self.job_options)


def scheduler(  # noqa: PLR0913 - a job, and where and when it runs
    client: Redis,
    cron: str,
    *,
    queue: str,
    function: Callable[[], dict[str, Any]],
    timeout_s: int,
    instead: str,
) -> CronScheduler:
    """Return a scheduler of one function; its `start` runs until it is told to stop.

    Any number may run, of functions of which it does no harm that two run.

    Args:
        client: connection to the queue's server.
        cron: when, as five fields in the machine's local time: `0 3 * * *` is every night at three.
        queue: RQ's queue of the jobs.
        function: at the top of a module that RQ's workers can import; returns plain values.
        timeout_s: a job that takes longer is ended.
        instead: the command to run by the clock where RQ cannot.

    Raises:
        FatalError: `cron` is malformed, or the queue is on a cluster, where RQ does not run.
    """
    in_cluster = isinstance(client, RedisCluster)
    if in_cluster:
        raise FatalError(
            "RQ does not run on a cluster: its jobs, queues and sets live in different slots. "
            f"Have cron, or a CronJob of Kubernetes, run `{instead}`"
        )
    try:
        job = JsonCronJob(
            queue, function, cron=cron, job_timeout=timeout_s, result_ttl=_RESULT_TTL_S
        )
    except ValueError as error:  # croniter's errors are that
        raise FatalError(f"{cron!r} is no schedule: {error}") from error
    ours = CronScheduler(connection=client)
    ours.get_jobs().append(job)  # `register` would make RQ's kind, which pickles
    return ours
