"""Runs the nightly round by the clock, as a job of RQ; what became of it is in `rounds.jsonl`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from streams import cron as jobs

if TYPE_CHECKING:
    from redis import Redis
    from rq.cron import CronScheduler

QUEUE = "learning"
TIMEOUT_S = 2 * 3600  # a round takes minutes; one that hangs must be gone before the next night


def scheduler(client: Redis, cron: str) -> CronScheduler:
    """Return a scheduler of the nightly round; its `start` runs until it is told to stop.

    Any number may run: the round itself is one at a time, and refused if nothing is new.

    Args:
        client: connection to the queue's server.
        cron: when; see `streams.cron.scheduler`.

    Raises:
        FatalError: `cron` is malformed, or the queue is on a cluster, where RQ does not run.
    """
    return jobs.scheduler(
        client, cron, queue=QUEUE, function=nightly, timeout_s=TIMEOUT_S, instead="cortex learn"
    )


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
