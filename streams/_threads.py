"""Threads whose failure is somebody's business."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def watched(
    loop: Callable[[], None], name: str, on_failure: Callable[[BaseException], None]
) -> threading.Thread:
    """Return a thread, not yet started, that reports the error `loop` ends with, if any."""

    def run() -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - one that dies silently would hang the process
            on_failure(error)

    return threading.Thread(target=run, name=name, daemon=True)
