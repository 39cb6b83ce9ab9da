"""A steady flow of tasks, each in words of its own, and the decisions as they come."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import redis

from chaos.faulty import Switch
from chaos.fleet import Fleet
from chaos.servers import wait_until
from contracts.parse import parse_decision
from streams import ranges
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaos.arena import Arena
    from contracts.messages import Decision

FAULTY = (sys.executable, "-m", "chaos.faulty")
WITH_CONTEXT = {"ENABLE_RAG": "true", "OMP_NUM_THREADS": "1"}


def faulty(
    program: str, arena: Arena, store: Path, switch: Path, *, nice: int = 0, **env: str
) -> Fleet:
    """Describe processes of one program, in a folder of its name, that fail as `switch` says."""
    directory = arena.run.directory / program
    directory.mkdir(exist_ok=True)
    settings = {
        "VECTORSTORE_PATH": str(store),
        "CORTEX_DATA_DIR": str(directory),
        "CHAOS_SWITCH": str(switch),
    }
    command = ("nice", "-n", str(nice), *FAULTY, program)
    return Fleet(arena.url, directory, command, **(WITH_CONTEXT | settings | env))


def switch_of(arena: Arena) -> tuple[Switch, Path]:
    """A switch in the row's folder, and its file."""
    file = arena.run.directory / "switch"
    return Switch(file), file


class Flow:
    """Submits tasks at a steady rate on a thread.

    Attributes:
        decisions: what was decided, by number of the task; brought up to date by `look`.
    """

    def __init__(self, arena: Arena, rate: float, words: Callable[[int], str]) -> None:
        """Submit nothing yet.

        Args:
            arena: whose queue and history are used.
            rate: tasks a second.
            words: text of the task of a number.
        """
        self.decisions: dict[int, Decision] = {}
        self._arena, self._rate, self._words = arena, rate, words
        self._submitted = 0
        self._submitted_ms: dict[int, int] = {}
        self._decided_ms: dict[int, int] = {}
        self._seen = "-"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def look(self) -> None:
        """Read the decisions made since the last look."""
        stream = self._arena.parts[0].decisions
        for entry_id, fields in ranges.forward(self._arena.client, stream, self._seen):
            self._seen = f"({entry_id.decode()}"
            number = int(fields[b"task_id"].removeprefix(b"flow-"))
            self._decided_ms[number] = _moment(entry_id)
            self.decisions[number] = parse_decision(fields[b"decision"])

    def since(self, first: int) -> list[Decision]:
        """Decisions of the tasks from a number on, in order of submission."""
        self.look()
        return [self.decisions[number] for number in sorted(self.decisions) if number >= first]

    def latencies(self, first: int) -> list[float]:
        """Milliseconds from submission to decision, of the tasks from a number on."""
        self.look()
        numbers = [number for number in sorted(self._decided_ms) if number >= first]
        return [self._decided_ms[each] - self._submitted_ms[each] for each in numbers]

    def mark(self) -> int:
        """Number of the next task that will be submitted, or a later one."""
        return self._submitted + 1

    def wait(self, holds: Callable[[Decision], bool], what: str, within: float = 60.0) -> float:
        """Wait until a decision of a task submitted from now on is so; returns the seconds.

        Raises:
            FatalError: none was in time.
        """
        begun, first = time.monotonic(), self.mark()
        wait_until(lambda: any(map(holds, self.since(first))), what, within)
        return time.monotonic() - begun

    def wait_status(self, *statuses: str, within: float = 60.0) -> float:
        """Wait until a decision has one of these states of context; returns the seconds."""
        return self.wait(lambda each: each.context_status in statuses, "/".join(statuses), within)

    def wait_more(self, count: int, within: float = 60.0) -> None:
        """Wait until so many more tasks, submitted from now on, are decided."""
        first = self.mark()
        wait_until(lambda: len(self.since(first)) >= count, f"{count} decisions", within)

    def _run(self) -> None:
        arena = self._arena
        with connect(arena.url, role="producer") as client:
            begun = time.monotonic()
            while not self._stopping.wait(begun + self._submitted / self._rate - time.monotonic()):
                number = self._submitted
                fields = {"task_id": f"flow-{number}", "description": self._words(number)}
                try:
                    entry_id = client.xadd(arena.parts[0].tasks, fields)
                except redis.RedisError:
                    arena.history.note("unknown", [f"flow-{number}"])
                else:
                    arena.history.note("ok", [f"flow-{number}"])
                    self._submitted_ms[number] = _moment(entry_id)
                self._submitted += 1


def _moment(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
