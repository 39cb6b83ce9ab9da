"""The master's side of the wire: take decisions, do the work, report how it went.

    master = Master(client, "dev-master")
    for decision in master.decisions():
        master.report(decision, "success" if work_on(decision) else "failed")

Any client in any language can do the same with XREADGROUP, XAUTOCLAIM, XADD and XACK.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from typing import TYPE_CHECKING

from redis.cluster import RedisCluster

from contracts.encode import outcome_fields
from contracts.errors import PoisonError
from contracts.messages import Outcome
from contracts.parse import parse_decision
from streams.consumer import Consumer
from streams.entry import Ack, Bury
from streams.keys import Keys
from streams.lane import Lane
from streams.scripts import run
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from contracts.messages import Decision, OutcomeKind
    from streams.entry import Entry, Settlement

_BLOCK_MS = 1_000  # well below the socket timeout of 5 s
_POLL = 0.02  # seconds between looks at several partitions: no server can block on all of them


class Master:
    """One member of a master's group, over every partition of its queue.

    A decision that is yielded and not reported stays with this member; once its lease lapses it is
    offered again, here or to another member. Work that may outlast the lease calls `renew`.
    """

    def __init__(
        self,
        client: Redis,
        name: str,
        *,
        keys: Keys | Sequence[Keys] | None = None,
        consumer: str | None = None,
        lease_ms: int = 60_000,
    ) -> None:
        """Join the group `name` of the master's stream.

        Args:
            client: connection to the queue's server.
            name: the master, for example `dev-master`.
            keys: of this deployment, or of each of its partitions (`streams.partitions.layout`).
            consumer: name of this member, unique among living ones; host and process by default.
            lease_ms: a decision untouched for this long is offered to other members.
        """
        self.name = name
        parts = [keys or Keys()] if isinstance(keys, Keys | None) else keys
        member = consumer or f"{socket.gethostname()}-{os.getpid()}"
        self._client = client
        self._outcomes = parts[0].outcomes
        self._lanes = [
            Lane(Consumer(client, (part.master(name),), name, member, lease_ms), part)
            for part in parts
        ]
        self._held: dict[str, tuple[Lane, Entry]] = {}
        self._turns = itertools.count()
        for lane in self._lanes:
            lane.consumer.join()

    def decisions(self, *, wait: bool = True) -> Iterator[Decision]:
        """Yield decisions one at a time: those whose lease lapsed first, then new ones.

        Args:
            wait: go on for ever; otherwise stop once nothing is left to take.

        Raises:
            redis.RedisError: the server could not be asked; calling again goes on.
        """
        while True:
            taken = self._next(wait=wait)
            if taken is None:
                if wait:
                    continue
                return
            if decision := decision_of(*taken):
                self._held[decision.task_id] = taken
                yield decision

    def report(  # noqa: PLR0913 (the fields of an outcome)
        self,
        decision: Decision,
        outcome: OutcomeKind,
        *,
        correct_master: str | None = None,
        score: float | None = None,
        duration_ms: float | None = None,
        detail: str | None = None,
        files: list[str] | None = None,
    ) -> bool:
        """Publish the outcome and acknowledge the decision, both or neither.

        In a cluster the two live on different nodes: the outcome is published first, and a crash or
        a lapsed lease in between leaves an outcome that will be reported again.

        Args:
            decision: one that `decisions` yielded.
            outcome: `success`, `failed` or `rerouted`.
            correct_master: who should have had it, if not this master.
            score: quality of the result, 0-1.
            duration_ms: how long the work took.
            detail: a sentence for people.
            files: the paths the work touched; they make the next retrieval better.

        Returns:
            False if the lease lapsed and another member has it, or has reported it.

        Raises:
            redis.RedisError: unknown whether it was reported; calling again reports it once.
        """
        lane, entry = self._held[decision.task_id]
        message = Outcome(
            task_id=decision.task_id,
            master=self.name,
            outcome=outcome,
            correct_master=correct_master,
            score=score,
            duration_ms=duration_ms,
            detail=detail,
            files=files or [],
        )
        fields = outcome_fields(message)
        in_cluster = isinstance(self._client, RedisCluster)
        owner: list[str | bytes] = [lane.consumer.group, lane.consumer.name, entry.id]
        if in_cluster:
            if reported := lane.consumer.owns(entry):
                self._client.xadd(self._outcomes, dict(fields.items()))
                reported = bool(run(self._client, "report", [entry.stream], owner))
        else:
            pairs = [part for pair in fields.items() for part in pair]
            names = [entry.stream, self._outcomes]
            reported = bool(run(self._client, "report", names, [*owner, *pairs]))
        del self._held[decision.task_id]
        return reported

    def renew(self, decision: Decision) -> None:
        """Begin the lease of a decision anew; call it well within `lease_ms` during long work."""
        lane, entry = self._held[decision.task_id]
        lane.consumer.renew([entry])

    def acknowledge(self, decision: Decision) -> None:
        """Take a decision off the queue without reporting how it went."""
        lane, entry = self._held[decision.task_id]
        _settle(Ack(entry), lane)
        del self._held[decision.task_id]

    def give_back(self, decision: Decision) -> None:
        """Give a decision back unhandled: any member may take it at once."""
        lane, entry = self._held.pop(decision.task_id)
        lane.consumer.release([entry])

    def leave(self) -> None:
        """Leave the group; decisions that are still held here stay pending for others."""
        for lane in self._lanes:
            lane.consumer.leave()

    def _next(self, *, wait: bool) -> tuple[Lane, Entry] | None:
        """Take one decision, beginning with another partition each time."""
        first = next(self._turns) % len(self._lanes)
        lanes = self._lanes[first:] + self._lanes[:first]
        block_ms = _BLOCK_MS if wait and len(lanes) == 1 else 0
        for lane in lanes:
            if entry := _take(lane.consumer, block_ms):
                return lane, entry
        if wait and not block_ms:
            time.sleep(_POLL)
        return None


def _take(consumer: Consumer, block_ms: int) -> Entry | None:
    for stale in consumer.stale(1):
        if entry := consumer.claim(stale):
            return entry
    return next(iter(consumer.read(1, block_ms)), None)


def decision_of(lane: Lane, entry: Entry) -> Decision | None:
    """Read the decision in an entry of a master's stream; bury the entry if there is none.

    Args:
        lane: whose consumer holds the entry.
        entry: of the master's stream.

    Raises:
        redis.RedisError: it could not be buried; it is still pending.
    """
    try:
        return parse_decision(entry.fields.get(b"decision", b""))
    except PoisonError as error:
        _settle(Bury(entry, error.reason, error.detail), lane)
        return None


def _settle(settlement: Settlement, lane: Lane) -> None:
    settle(
        lane.consumer.client,
        lane.keys,
        [settlement],
        group=lane.consumer.group,
        consumer=lane.consumer.name,
        window_ms=1,  # no task id is given, so none is remembered
    )
