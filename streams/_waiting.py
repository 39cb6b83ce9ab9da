"""Waiting for something that should be there in a moment, without leaving people in the dark."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST, LONGEST, GROWTH = 0.01, 0.5, 1.5  # seconds between attempts, and how they grow
SILENCE = 2.0  # seconds before, and between, lines on stderr


def attempts(what: str, patience: float) -> Iterator[float]:
    """Yield once per attempt, at growing intervals, until `patience` is over.

    Args:
        what: told on stderr every two seconds: "waiting for <what> (4 s)".
        patience: seconds.

    Yields:
        Seconds waited so far; the last attempt comes when `patience` is over.
    """
    start = told = time.monotonic()
    pause = SHORTEST
    while (now := time.monotonic()) - start < patience:
        yield now - start
        if now - told >= SILENCE:
            told = now
            sys.stderr.write(f"waiting for {what} ({now - start:.0f} s)\n")
        time.sleep(min(pause, max(0.0, start + patience - time.monotonic())))
        pause = min(pause * GROWTH, LONGEST)
    yield time.monotonic() - start
