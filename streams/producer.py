"""The producer's side of the wire: submit tasks, and know of each what became of it.

    producer = Producer(client, layout("", 0), backlog_limit=100_000)
    for submission in producer.submit_surely(tasks):
        if submission.verdict != "ok": ...

Any client in any language can do the same with XADD. What it must not do is take an answer that did
not come for a refusal, or repeat a task after the idempotency window.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from contracts.encode import task_fields
from contracts.errors import TransientError
from streams.backlog import Gate
from streams.errors import SERVER_TROUBLE, is_transient
from streams.exchange import Confirmation, send, was_refused
from streams.partitions import partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from contracts.messages import Task
    from streams.exchange import Command, Reply
    from streams.keys import Keys

Priority = Literal["high", "normal", "low"]
Verdict = Literal["ok", "failed", "unknown"]

PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
_BATCH = 500  # tasks per exchange
_BACKOFF = (0.05, 2.0)  # seconds: longest first and longest wait between attempts


class Submission(NamedTuple):
    """What became of one task.

    Attributes:
        verdict: `ok`: in the queue (and on as many replicas as asked for); `failed`: not in it;
            `unknown`: nobody answered, or too few replicas. To submit an unknown one again within
            the idempotency window is safe: it is decided once.
        error: why it is not `ok`.
    """

    task_id: str
    verdict: Verdict
    error: Exception | None = None


@dataclass
class Producer:
    """Submits tasks to a queue on one server, behind Sentinels or on a cluster. For one thread.

    Attributes:
        client: made by `streams.connect`.
        parts: names of each partition (`streams.partitions.layout`).
        backlog_limit: most tasks that may wait or be worked on in the streams that come before a
            new one: those of its priority and of more urgent ones. None: no limit.
        patience: seconds to wait for room below that limit; 0 fails at once.
        confirm_replicas: how many replicas must have a task before it is `ok` (WAIT).
        confirm_ms: how long to wait for them; well below the client's socket timeout.
    """

    client: Redis
    parts: Sequence[Keys]
    backlog_limit: int | None = None
    patience: float = 60.0
    confirm_replicas: int = 0
    confirm_ms: int = 1_000

    def __post_init__(self) -> None:
        self._gates = {
            priority: Gate(self.client, self._streams_until(rank), self.backlog_limit)
            for rank, priority in enumerate(PRIORITIES)
            if self.backlog_limit is not None
        }
        self._confirmation = (
            Confirmation(self.confirm_replicas, self.confirm_ms) if self.confirm_replicas else None
        )
        self._chance = random.Random()  # noqa: S311 - nothing secret about it

    def submit(self, tasks: Sequence[Task], priority: Priority = "normal") -> list[Submission]:
        """Submit each task at most once.

        The first batch that is not accepted whole is the last that is sent: where it failed, so
        would the next.

        Returns:
            One per task, in their order. Never raises for what the server or the network did.
        """
        done: list[Submission] = []
        while len(done) < len(tasks) and all(each.verdict == "ok" for each in done[-_BATCH:]):
            rest = tasks[len(done) : len(done) + _BATCH]
            try:
                count = self._admitted(len(rest), priority)
            except SERVER_TROUBLE as error:
                return done + _failed(tasks[len(done) :], error)
            done += self._send(rest[:count], priority)
        return done + _failed(tasks[len(done) :], TransientError("not sent after what went wrong"))

    def submit_surely(
        self, tasks: Sequence[Task], priority: Priority = "normal", *, within: float = 300.0
    ) -> list[Submission]:
        """Submit tasks, again and again until each is `ok` or refused for good.

        Each is decided once, however often it had to be sent.

        Attempts are spread by exponential backoff with full jitter (M. Brooker, Exponential Backoff
        And Jitter, AWS Architecture Blog, 2015).

        Args:
            tasks: what to submit.
            priority: of all of them.
            within: seconds after which no further attempt is made (one may still wait for room).
                Half of the idempotency window leaves the other half for the last copy of a task
                to be dealt with.

        Returns:
            One per task, in their order; `unknown` if any attempt was, and none was `ok`.
        """
        deadline, longest = time.monotonic() + within, _BACKOFF[0]
        done = self.submit(tasks, priority)
        while again := [i for i, each in enumerate(done) if _may_pass(each)]:
            pause = self._chance.uniform(0, longest)
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
            longest = min(2 * longest, _BACKOFF[1])
            for i, each in zip(
                again, self.submit([tasks[i] for i in again], priority), strict=True
            ):
                if not (done[i].verdict == "unknown" and each.verdict == "failed"):
                    done[i] = each
        return done

    def _streams_until(self, rank: int) -> list[str]:
        return [stream for keys in self.parts for stream in keys.task_streams[: rank + 1]]

    def _admitted(self, wanted: int, priority: Priority) -> int:
        gate = self._gates.get(priority)
        return gate.admit(wanted, self.patience) if gate else wanted

    def _send(self, tasks: Sequence[Task], priority: Priority) -> list[Submission]:
        rank, count = PRIORITIES.index(priority), len(self.parts)
        streams = [
            self.parts[partition_of(task.task_id, count)].task_streams[rank] for task in tasks
        ]
        commands = [_command(task, stream) for task, stream in zip(tasks, streams, strict=True)]
        replies = send(self.client, commands, self._confirmation)
        return [_submission(task, reply) for task, reply in zip(tasks, replies, strict=True)]


def _command(task: Task, stream: str) -> Command:
    pairs = [part for pair in task_fields(task).items() for part in pair]
    return ["XADD", stream, "*", *pairs]


def _submission(task: Task, reply: Reply) -> Submission:
    if not isinstance(reply, Exception):
        return Submission(task.task_id, "ok")
    return Submission(task.task_id, "failed" if was_refused(reply) else "unknown", reply)


def _failed(tasks: Sequence[Task], error: Exception) -> list[Submission]:
    return [Submission(task.task_id, "failed", error) for task in tasks]


def _may_pass(each: Submission) -> bool:
    return each.verdict == "unknown" or (each.error is not None and is_transient(each.error))
