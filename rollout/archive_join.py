"""Joins decisions with their outcomes, in the order of the streams; pure.

A decision waits for its outcome for a while of the streams' own time, so that what is joined does
not depend on when it was read. Decisions leave in the order they came: a line says up to where its
stream was written, so the next must not be missing before it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout.archive_lines import Decided, Reported

EntryId = tuple[int, int]
"""Milliseconds by the server's clock and a number: the order of a stream."""


class Written(NamedTuple):
    """A decision that has waited enough, with the outcome that was heard."""

    stream: str
    entry: EntryId
    decided: Decided
    outcome: Reported | None


class _Waiting:
    __slots__ = ("decided", "entry", "heard", "outcome", "stream")

    def __init__(self, stream: str, entry: EntryId, decided: Decided) -> None:
        self.stream, self.entry, self.decided = stream, entry, decided
        self.outcome: Reported | None = None
        self.heard: EntryId | None = None


class Join:
    """Decisions that wait for their outcomes."""

    def __init__(self, wait_ms: int, most: int) -> None:
        """Begin with none.

        Args:
            wait_ms: an outcome that comes later than so many milliseconds after its decision is
                late.
            most: decisions that may wait; where there are more, the oldest wait no longer.
        """
        self._wait_ms, self._most = wait_ms, most
        self._queue: deque[_Waiting] = deque()
        self._by_task: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def decide(self, stream: str, entry: EntryId, decided: Decided) -> None:
        """Take a decision; of one task decided twice, what follows belongs to the second."""
        waiting = _Waiting(stream, entry, decided)
        self._queue.append(waiting)
        self._by_task[decided.task_id] = waiting

    def report(self, task_id: str, entry: EntryId, outcome: Reported) -> bool:
        """Take an outcome; False if it is late, or not the first of its decision."""
        waiting = self._by_task.get(task_id)
        if waiting is None or waiting.outcome is not None:
            return False
        if entry[0] - waiting.entry[0] > self._wait_ms:
            return False
        waiting.outcome, waiting.heard = outcome, entry
        return True

    def ready(self, heard_ms: float) -> Iterator[Written]:
        """Yield, and forget, the decisions that need wait no longer, in their order.

        Args:
            heard_ms: every outcome up to this moment has been reported here.
        """
        while self._queue:
            first = self._queue[0]
            heard = first.outcome is not None or heard_ms - first.entry[0] > self._wait_ms
            if not heard and len(self._queue) <= self._most:
                return
            self._queue.popleft()
            if self._by_task.get(first.decided.task_id) is first:
                del self._by_task[first.decided.task_id]
            yield Written(first.stream, first.entry, first.decided, first.outcome)

    def unwritten(self) -> EntryId | None:
        """Return the oldest outcome that waits with its decision to be written."""
        return min((each.heard for each in self._queue if each.heard is not None), default=None)
