"""Real servers to do harm to: each keeps its data in a directory and is there again after `start`.

Start them from the main thread: the kernel ends a server with the thread that started it, which is
how none outlives the suite, however that ends.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Self

from chaos.binaries import embedded_binary
from contracts.errors import FatalError
from streams import _embedded_guard as guard
from streams import embedded
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from redis import Redis

PATIENCE = 30.0  # seconds for a server to do what it was told
_POLL = 0.01  # seconds


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on.

    Below the range that connections get theirs from, or one of them may have it before it is used.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(condition: Callable[[], object], what: str, within: float = PATIENCE) -> None:
    """Wait until a condition holds.

    Args:
        condition: asked every 10 ms.
        what: said where it does not come true.
        within: seconds.

    Raises:
        FatalError: it did not hold in time.
    """
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise FatalError(f"not within {within:.0f} s: {what}")
        time.sleep(_POLL)


class Server:
    """One server, configured as the embedded one is: AOF synced every second, no eviction.

    Attributes:
        directory: data and log; what it holds may be damaged while the server is down.
        socket: it listens here in any case, so that there is a way in past proxies.
        port: it listens here too, on 127.0.0.1, if not None.
        options: as on a server's command line (`--appendfsync`, `always`); the last one counts.
            Those changed later hold from the next start on.
        env: environment variables on top of this process's (`LD_PRELOAD` and so on), likewise.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        binary: Path | None = None,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.socket = embedded.make_socket_path(directory)
        self.port = port
        self.options = list(options)
        self.env = dict(env or {})
        self.binary = binary or embedded_binary()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it (`streams.url`)."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket}"

    @property
    def log(self) -> Path:
        """What the server wrote about itself."""
        return self.directory / "valkey.log"

    @property
    def pid(self) -> int:
        """Process id of the last start.

        Raises:
            FatalError: it was never started.
        """
        if self._process is None:
            raise FatalError(f"the server in {self.directory} was not started")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> Self:
        """Start the server, and wait until it answers with its data loaded.

        Raises:
            FatalError: it ended at once or does not answer; with the last lines of its log.
        """
        if self.alive:
            raise FatalError(f"the server in {self.directory} is running already")
        self._process = subprocess.Popen(
            self._command(),
            env=os.environ | self.env,
            stdout=subprocess.DEVNULL,
            # Two system calls, before anything else of this process can run in the child.
            preexec_fn=functools.partial(guard.die_with_parent, os.getpid()),  # noqa: PLW1509 - see above
        )
        if wait:
            self.wait()
        return self

    def wait(self, within: float = PATIENCE) -> None:
        """Wait until it answers with its data loaded.

        Args:
            within: seconds.

        Raises:
            FatalError: it ended or does not answer; with the last lines of its log.
        """
        deadline = time.monotonic() + within
        while not guard.answers(str(self.socket)):
            if not self.alive or time.monotonic() > deadline:
                log = self.log.read_text(errors="replace") if self.log.exists() else "no log"
                raise FatalError(f"{self.socket} does not answer: …{log[-600:]}")
            time.sleep(_POLL)

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone. Nothing where it is gone already."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order, and wait until it is gone."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def client(self) -> Redis:
        """Connect as everything in Cortex does."""
        return connect(self.url, role="chaos")

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.socket.parent != self.directory:  # the directory's own path was too long
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _command(self) -> list[str]:
        _, *options = embedded.server_command(self.directory, self.socket)
        tcp = ["--port", str(self.port), "--bind", "127.0.0.1"] if self.port else []
        return [str(self.binary), *options, *tcp, *self.options]

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or not self.alive:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)  # a frozen process acts on nothing but KILL
        self._process.wait(PATIENCE)
