"""Waiting for something that should be there in a moment, without leaving people in the dark."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORTEST, LONGEST, GROWTH = 0.01, 0.5, 1.5  # seconds between attempts, and how they grow
SILENCE, LONGEST_SILENCE = 2.0, 60.0  # seconds before the first line on stderr; doubled after each


def attempts(what: Callable[[], str], patience: float) -> Iterator[float]:
    """Yield once per attempt, at growing intervals, until `patience` is over.

    Args:
        what: told on stderr every now and then: "waiting for <what> (4 s)".
        patience: seconds, possibly infinite.

    Yields:
        Seconds waited so far; the last attempt comes when `patience` is over.
    """
    start = told = time.monotonic()
    pause, silence = SHORTEST, SILENCE
    while (now := time.monotonic()) - start < patience:
        yield now - start
        if now - told >= silence:
            told, silence = now, min(2 * silence, LONGEST_SILENCE)
            sys.stderr.write(f"waiting for {what()} ({now - start:.0f} s)\n")
            sys.stderr.flush()
        time.sleep(min(pause, max(0.0, start + patience - time.monotonic())))
        pause = min(pause * GROWTH, LONGEST)
    yield time.monotonic() - start
