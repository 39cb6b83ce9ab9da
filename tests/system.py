"""Real processes for tests of the whole: `cortex` programs, and waiting for what they do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RULES_ONLY = {"ENABLE_RAG": "false", "ENABLE_NEURAL": "false"}


def spawn(*args: str, cwd: Path, **env: str) -> subprocess.Popen[bytes]:
    """Start `cortex ARGS` in a folder whose embedded server it uses; its log goes to a file."""
    with (cwd / f"{args[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ops.cli", *args],
            cwd=cwd,
            env={k: v for k, v in os.environ.items() if k != "REDIS_URL"} | env,
            stdin=subprocess.DEVNULL,
            stderr=log,
        )


@contextmanager
def running(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """End processes when the block ends, however it ends; those in the list by then."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def terminate(process: subprocess.Popen[bytes], seconds: float = 10.0) -> int:
    """Ask a process to drain, and return its exit code."""
    process.send_signal(signal.SIGTERM)
    return process.wait(seconds)


def free_port() -> int:
    """Return a port of this host that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Poll until something is so; returns how many seconds it took, fails after `seconds`."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.002)
    return time.monotonic() - begun
