from __future__ import annotations

import shutil
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


def test_a_directory_that_goes_is_waited_for_and_published_when_it_is_back(
    redis_client: Redis, redis_url: str, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    edits = count()

    def published(name: bytes) -> bool:
        return any(fields[b"path"] == name for _, fields in redis_client.xrange("files"))

    def watching() -> bool:
        (root / "a.py").write_text(f"edit = {next(edits)}\n")
        return published(b"a.py")

    process = start(redis_url, "watch", str(root))
    try:
        eventually(watching)
        shutil.rmtree(root)
        eventually(lambda: published(b"a.py") and process.poll() is None)
        root.mkdir()
        (root / "b.py").write_text("back = True\n")
        eventually(lambda: published(b"b.py"))
    finally:
        process.kill()
        process.communicate()
