"""Runs the real program `cortex` against a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(redis_url: str, **more: str) -> dict[str, str]:
    return {**os.environ, "REDIS_URL": redis_url, "PYTHONPATH": str(ROOT), **more}


def start(redis_url: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ops.cli", *args],
        env=environment(redis_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def cortex(
    redis_url: str, *args: str, stdin: str | None = None, cwd: Path = ROOT, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *args],
        env=environment(redis_url, **more),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,  # where the encoder was never exported, that comes first
        check=False,
    )


def succeed(redis_url: str, *args: str, stdin: str | None = None) -> str:
    done = cortex(redis_url, *args, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout
