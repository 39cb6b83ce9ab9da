from __future__ import annotations

import signal
from itertools import count
from typing import TYPE_CHECKING

import pytest
from cortex_program import start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_watch_as_a_success(
    redis_client: Redis,
    redis_url: str,
    tmp_path: Path,
    eventually: Callable[..., None],
    number: signal.Signals,
) -> None:
    edits = count()

    def published() -> int:
        (tmp_path / "a.py").write_text(f"edit = {next(edits)}\n")
        return redis_client.xlen("files")

    process = start(redis_url, "watch", str(tmp_path))
    try:
        eventually(published)
        process.send_signal(number)
        output, log = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, output) == (0, "")
    assert "Aborted" not in log
