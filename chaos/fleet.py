"""A fleet of real worker processes, to kill, freeze and replace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from chaos.servers import wait_until
from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES_ONLY = {"ENABLE_RAG": "false", "ENABLE_NEURAL": "false"}
FAST_LEASES = {"WORKER_LEASE_MS": "1000"}
WORKER = (sys.executable, "-m", "ops.cli", "worker")


class Fleet:
    """Worker processes on one queue.

    Attributes:
        processes: by number; a replaced one keeps its number.
    """

    def __init__(
        self, url: str, directory: Path, command: Sequence[str] = WORKER, **env: str
    ) -> None:
        """Describe the workers; none is started yet.

        Args:
            url: what they get as `REDIS_URL`.
            directory: where they run, and where their logs are.
            command: what to run instead of `cortex worker`.
            env: their settings, over rules only and leases of a second.
        """
        self.processes: list[subprocess.Popen[bytes]] = []
        self._starts: Counter[int] = Counter()
        self._command = list(command)
        self._directory = directory
        self._env = os.environ | RULES_ONLY | FAST_LEASES | {"REDIS_URL": url} | env

    def start(self, count: int = 1, **env: str) -> Self:
        """Start some more, with `env` on top of what all have."""
        self.processes += [self._spawn(len(self.processes) + n, env) for n in range(count)]
        return self

    def replace(self, number: int, **env: str) -> None:
        """Start a new process in the place of one that ended."""
        self.processes[number] = self._spawn(number, env)

    def kill(self, number: int) -> None:
        """`kill -9`, and wait until it is gone."""
        self._end(number, signal.SIGKILL)

    def terminate(self, number: int, within: float = 10.0) -> int:
        """TERM; returns the exit code.

        Raises:
            subprocess.TimeoutExpired: it is still there after `within` seconds.
        """
        self.processes[number].send_signal(signal.SIGTERM)
        return self.processes[number].wait(within)

    def freeze(self, number: int) -> None:
        """SIGSTOP."""
        self.processes[number].send_signal(signal.SIGSTOP)

    def thaw(self, number: int) -> None:
        """SIGCONT."""
        self.processes[number].send_signal(signal.SIGCONT)

    @property
    def alive(self) -> list[int]:
        """Numbers of the processes that run."""
        return [n for n, process in enumerate(self.processes) if process.poll() is None]

    def log(self, number: int) -> str:
        """What a worker, and who had its number before, wrote to its log."""
        return self._log(number).read_text()

    def wait_reading(self, within: float = 30.0) -> None:
        """Wait until every worker started so far reads.

        Raises:
            FatalError: one ended instead, or takes longer than `within` seconds.
        """
        wait_until(
            lambda: all(map(self._reads, range(len(self.processes)))), "workers read", within
        )

    def close(self) -> None:
        """Kill whoever is left."""
        for number in self.alive:
            self._end(number, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reads(self, number: int) -> bool:
        log = self.log(number)
        if self.processes[number].poll() is not None:
            raise FatalError(f"worker {number} ended: …{log[-600:]}")
        return log.count('"reading"') >= self._starts[number]

    def _log(self, number: int) -> Path:
        return self._directory / f"worker{number}.log"

    def _spawn(self, number: int, env: dict[str, str]) -> subprocess.Popen[bytes]:
        self._starts[number] += 1
        with self._log(number).open("ab") as log:
            return subprocess.Popen(
                self._command,
                cwd=self._directory,
                env=self._env | env | {"PYTHONPATH": str(Path.cwd())},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def _end(self, number: int, how: signal.Signals) -> None:
        self.processes[number].send_signal(how)
        self.processes[number].wait(30)
