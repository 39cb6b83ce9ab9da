"""Masters that can be told to work or not, and that say how it went, as real ones do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from chaos.arena import MASTERS
from chaos.history import Outputs, buried_id
from streams import ranges
from streams.connect import connect
from streams.errors import SERVER_TROUBLE
from streams.master import Master

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.arena import Arena


class Masters:
    """Masters that work off their queues and keep account, and a reader of the audit stream.

    Attributes:
        taken: per master, what it reported.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._keys = arena.parts[0]
        for name in MASTERS:  # the checker would keep what is settled from being trimmed
            arena.client.xgroup_destroy(self._keys.master(name), "checker")
        self.taken: dict[str, list[str]] = {name: [] for name in MASTERS}
        self._audited: list[str] = []
        self._idle: set[str] = set(MASTERS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def count(self) -> int:
        """How many tasks they have dealt with."""
        return sum(map(len, self.taken.values()))

    @property
    def audited(self) -> int:
        """How many decisions the audit stream had."""
        return len(self._audited)

    def work(self, names: Iterable[str] = MASTERS) -> None:
        """Have these consume from now on."""
        self._idle -= set(names)

    def outputs(self) -> Outputs:
        """What came out."""
        client = self._arena.client
        dead = [buried_id(fields) for _, fields in ranges.forward(client, self._keys.dead)]
        pending = sum(
            group["pending"]
            for stream in self._keys.task_streams
            for group in client.xinfo_groups(stream)
        )
        return Outputs(self.taken, self._audited, dead, pending)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with connect(self._arena.url, role="masters") as client:
            masters = {name: Master(client, name, consumer="m", lease_ms=2_000) for name in MASTERS}
            while not self._stopping.wait(0.01):
                self._audit()
                for name, master in masters.items():
                    if name not in self._idle:
                        self._take(name, master)

    def _take(self, name: str, master: Master) -> None:
        try:
            for decision in master.decisions(wait=False):
                # Unanswered, it is offered again once the lease has lapsed.
                if master.report(decision, "success"):
                    self.taken[name].append(decision.task_id)
        except SERVER_TROUBLE:
            return

    def _audit(self) -> None:
        stream = self._keys.decisions
        reply: Any = self._arena.client.xreadgroup("checker", "c", {stream: ">"}, count=1_000)
        for entry_id, fields in reply[stream.encode()] if reply else ():
            self._audited.append(fields[b"task_id"].decode())
            self._arena.client.xack(stream, "checker", entry_id)
