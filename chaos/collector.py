"""Masters that take everything there is and remember it, so that the queue may forget it.

With them the checker knows what came out although settled work is trimmed, and it knows what
masters saw of a primary that is no more.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec
import redis
from redis.exceptions import RedisClusterException

from chaos.history import Outputs, buried_id
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.keys import Keys

_COUNT = 1_000  # entries in one exchange
_IDLE = 0.01  # seconds until the next look when there was nothing
_AFTER_ERROR = 0.1
_GROUP = "collector"  # of what no master reads; masters' groups have their names


class _Seen(msgspec.Struct):
    selected_master: str


class _Queue(NamedTuple):
    """One stream, and what was taken from it, by entry id: an entry delivered twice counts once."""

    stream: str
    group: str
    id_of: Callable[[dict[bytes, bytes]], str]
    taken: dict[bytes, str]


class Collector:
    """One member of every master's group, and of a group on decisions and dead letters.

    Attributes:
        errors: exchanges that failed; what they may have brought was asked for again.
        mislaid: ids of decisions in a queue other than the one they name.
    """

    def __init__(self, url: str, parts: Sequence[Keys], masters: Sequence[str]) -> None:
        """Connect and enter the groups; `start` or `with` begins to take.

        Args:
            url: of the queue.
            parts: names of each partition.
            masters: whose queues to empty.
        """
        self.errors = 0
        self.mislaid: list[str] = []
        self._client = connect(url, role="collector")
        self._masters = {name: [self._master(keys, name) for keys in parts] for name in masters}
        self._decisions = [_Queue(keys.decisions, _GROUP, _task_id, {}) for keys in parts]
        self._dead = [_Queue(keys.dead, _GROUP, buried_id, {}) for keys in parts]
        self._lanes = [
            [*(queues[n] for queues in self._masters.values()), self._decisions[n], self._dead[n]]
            for n in range(len(parts))
        ]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        for queue in self._queues:
            self._join(queue)

    @property
    def finished(self) -> int:
        """How many decisions and dead letters were taken."""
        return sum(len(queue.taken) for queue in (*self._decisions, *self._dead))

    @property
    def empty(self) -> bool:
        """Whether everything that came out of the queue was taken and acknowledged."""
        groups = [
            group
            for queue in self._queues
            for group in self._client.xinfo_groups(queue.stream)
            if group["name"] == queue.group.encode()
        ]
        return all(group["pending"] == 0 and group["lag"] == 0 for group in groups)

    def outputs(self, pending: int = 0) -> Outputs:
        """What was taken, for the checker."""
        return Outputs(
            masters={name: _all(queues) for name, queues in self._masters.items()},
            decisions=_all(self._decisions),
            dead=_all(self._dead),
            pending=pending,
            mislaid=self.mislaid,
        )

    def repeated(self) -> dict[str, list[bytes]]:
        """Ids of tasks that masters got more than once, each with its entries, the oldest first."""
        queues = [queue for queues in self._masters.values() for queue in queues]
        count = Counter(task_id for queue in queues for task_id in queue.taken.values())
        entries: dict[str, list[bytes]] = {task_id: [] for task_id, n in count.items() if n > 1}
        for queue in queues:
            for entry_id, task_id in queue.taken.items():
                if task_id in entries:
                    entries[task_id].append(entry_id)
        return {task_id: sorted(ids) for task_id, ids in entries.items()}

    def start(self) -> Self:
        """Begin to take, on a thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop taking."""
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _queues(self) -> list[_Queue]:
        return [queue for lane in self._lanes for queue in lane]

    def _master(self, keys: Keys, name: str) -> _Queue:
        def id_of(fields: dict[bytes, bytes]) -> str:
            task_id = _task_id(fields)
            if msgspec.json.decode(fields[b"decision"], type=_Seen).selected_master != name:
                self.mislaid.append(task_id)
            return task_id

        return _Queue(keys.master(name), name, id_of, {})

    def _run(self) -> None:
        in_doubt = {queue.stream for queue in self._queues}  # may hold what no reply brought
        not_before = [0.0] * len(self._lanes)
        while not self._stopping.is_set():
            taken = 0
            for number, lane in enumerate(self._lanes):
                if time.monotonic() < not_before[number]:
                    continue
                try:
                    for queue in lane:
                        taken += self._take(queue, in_doubt)
                except (redis.RedisError, RedisClusterException, OSError):
                    self.errors += 1
                    in_doubt.update(queue.stream for queue in lane)
                    not_before[number] = time.monotonic() + _AFTER_ERROR
            if not taken:
                self._stopping.wait(_IDLE)

    def _take(self, queue: _Queue, in_doubt: set[str]) -> int:
        taken = 0
        if queue.stream in in_doubt:
            self._join(queue)
            while count := self._exchange(queue, "0"):
                taken += count
            in_doubt.discard(queue.stream)
        return taken + self._exchange(queue, ">")

    def _exchange(self, queue: _Queue, start: str) -> int:
        """Take some entries and acknowledge them; returns how many there were."""
        reply: Any = self._client.xreadgroup(
            queue.group, _GROUP, {queue.stream: start}, count=_COUNT
        )
        ((_, entries),) = reply.items() if reply else ((None, []),)
        if not entries:
            return 0
        for entry_id, fields in entries:
            if fields and entry_id not in queue.taken:
                queue.taken[entry_id] = queue.id_of(fields)
        self._client.xack(queue.stream, queue.group, *(entry_id for entry_id, _ in entries))
        return len(entries)

    def _join(self, queue: _Queue) -> None:
        try:
            self._client.xgroup_create(queue.stream, queue.group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise


def _task_id(fields: dict[bytes, bytes]) -> str:
    return fields[b"task_id"].decode()


def _all(queues: Sequence[_Queue]) -> list[str]:
    return [task_id for queue in queues for task_id in queue.taken.values()]
