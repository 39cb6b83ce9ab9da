"""How a foreground process stops: TERM ends it in order, as Ctrl-C does, but counts as success."""

from __future__ import annotations

import signal
from typing import NoReturn


def exit_on_term() -> None:
    """Let SIGTERM raise `SystemExit(0)` in the main thread, so that `finally` blocks run."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)
