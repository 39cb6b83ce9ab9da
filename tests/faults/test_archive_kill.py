"""An archiver that is killed right before any of its changes of the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from redis import Redis

ROOT = Path(__file__).parents[2]


def test_an_archiver_killed_anywhere_writes_everything_once(
    redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    # In a process of its own: forking this one would copy whatever threads it has.
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.archive_kill", redis_url, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    calls = msgspec.json.decode(done.stdout, type=dict[str, int])
    assert calls["write"] >= 2
    assert calls["fsync"] >= 4
    assert calls["rename"] >= 1
    assert redis_client.ping()
