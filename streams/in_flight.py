"""What a process holds between reading and settling, shared by the threads that move it along."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.entry import Entry, Settlement


@dataclass(eq=False)
class Held:
    """What a process holds of one lane; one whose server is away does not hold up the others.

    Attributes:
        batches: how many are not yet settled.
        outbox: batches to settle; the first may be under way.
    """

    batches: int = 0
    outbox: deque[Sequence[Settlement]] = field(default_factory=deque)


class InFlight:
    """Entries that were read and are not yet settled, and the queues they wait in.

    Everything is guarded by `changed`, which is notified of every change.

    Attributes:
        inbox: batches to handle.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inbox: deque[list[Entry]] = deque()
        self._unhandled = 0
        self._entries: dict[tuple[str, bytes], Entry] = {}
        self._alone: object | None = None
        self._stopping = threading.Event()
        self._deadline = float("inf")

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be read."""
        return self._stopping.is_set()

    @property
    def overdue(self) -> bool:
        """Whether what is held is to be given up rather than handled."""
        return time.monotonic() > self._deadline

    @property
    def patience(self) -> float:
        """Seconds until `overdue`."""
        return max(0.0, self._deadline - time.monotonic())

    def stop(self, seconds: float) -> None:
        """Read nothing more; after `seconds`, give up what is held. The first call counts."""
        with self.changed:
            if not self.stopping:
                self._deadline = time.monotonic() + seconds
                self._stopping.set()
            self.changed.notify_all()

    def give_up(self) -> None:
        """Be overdue at once."""
        with self.changed:
            self._deadline = 0.0
            self.changed.notify_all()

    def entries(self, older_than: float = float("inf")) -> list[Entry]:
        """Return what is held, of that what arrived before a `time.perf_counter()`."""
        with self.changed:
            return [entry for entry in self._entries.values() if entry.received < older_than]

    def add(self, held: Held, entries: list[Entry], batch: int) -> None:
        """Hold entries of a lane and queue them for handling, at most `batch` together."""
        with self.changed:
            batches = [entries[i : i + batch] for i in range(0, len(entries), batch)]
            held.batches += len(batches)
            self._unhandled += len(batches)
            self._entries.update(((entry.stream, entry.id), entry) for entry in entries)
            self.inbox.extend(batches)
            self.changed.notify_all()

    def handled(self, held: Held, batch: Sequence[Settlement]) -> None:
        """Queue what became of a batch for settling."""
        with self.changed:
            self._unhandled -= 1
            held.outbox.append(batch)
            self.changed.notify_all()

    def settled(self, held: Held) -> None:
        """Forget the first batch of a lane's outbox."""
        with self.changed:
            batch = held.outbox.popleft()
            held.batches -= 1
            for each in batch:
                self._entries.pop((each.entry.stream, each.entry.id), None)
            self.changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        self._stopping.wait(seconds)

    def wait_for_room(self, held: Held, most: int, seconds: float) -> bool:
        """Wait until at most `most` batches of a lane are held and nobody works alone.

        Returns:
            False on a stop or when time is up.
        """
        with self.changed:
            room = self.changed.wait_for(
                lambda: (held.batches <= most and self._alone is None) or self.stopping, seconds
            )
            return room and not self.stopping

    def wait_until_empty(self, held: Held, seconds: float) -> bool:
        """Wait until nothing of a lane is held, and of others only what is handled; or a stop.

        Returns:
            False when time is up.
        """
        with self.changed:
            return self.changed.wait_for(
                lambda: not (self._unhandled or held.batches) or self.stopping, seconds
            )

    def wait_alone(self, who: object, seconds: float) -> bool:
        """Become the only one who adds entries, until `share`, or a stop; False if time is up."""
        with self.changed:
            free = self.changed.wait_for(
                lambda: self._alone is None or self._alone is who or self.stopping, seconds
            )
            if free and not self.stopping:
                self._alone = who
            return free

    def notify(self) -> None:
        """Have everyone who waits look again."""
        with self.changed:
            self.changed.notify_all()

    def share(self, who: object) -> None:
        """End `wait_alone`, if it was reached."""
        with self.changed:
            if self._alone is who:
                self._alone = None
            self.changed.notify_all()
