"""Stops single threads of a process, as a hanging disk stops the one that waits for it."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17  # requests of ptrace(2)
_WALL = 0x40000000  # wait(2): threads too

FSYNC = "bio_aof"  # name of the thread that syncs the append-only file


@contextmanager
def stalled(pid: int, name: str) -> Iterator[None]:
    """Stop the threads called `name` of a child process, until the block ends.

    The process may be killed within the block by signal; wait for its end after the block.

    Raises:
        FatalError: there is no such thread, or it cannot be traced.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    threads = [int(each.name) for each in tasks if (each / "comm").read_text().strip() == name]
    if not threads:
        raise FatalError(f"process {pid} has no thread {name}")
    for thread in threads:
        _ptrace(_SEIZE, thread)
        _ptrace(_INTERRUPT, thread)
        os.waitpid(thread, _WALL)
    try:
        yield
    finally:
        for thread in threads:
            try:
                _ptrace(_DETACH, thread)
            except FatalError:  # it was killed; its process is not gone before it was waited for
                with suppress(ChildProcessError):
                    os.waitpid(thread, _WALL)


def _ptrace(request: int, thread: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(request, thread, None, None):
        raise FatalError(f"cannot stop thread {thread}: {os.strerror(ctypes.get_errno())}")
