"""Trouble that lasts, said once when it begins and once when it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()


@dataclass
class Complaint:
    """One kind of trouble of one part.

    Attributes:
        trouble: the warning that is logged when it begins.
        relief: what is logged once it has not happened for `quiet_s` seconds.
        about: names the part, in both lines.
        clock: seconds that never go back.
    """

    trouble: str
    relief: str
    about: dict[str, str] = field(default_factory=dict)
    quiet_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    _last: float | None = field(init=False, default=None)

    def happened(self, **details: object) -> None:
        """Say that it happened, with what led to it, unless that is known."""
        if self._last is None:
            log.warning(self.trouble, **self.about, **details)
        self._last = self.clock()

    def did_not_happen(self) -> None:
        """Note that things went well; said when they have for a while."""
        if self._last is not None and self.clock() - self._last >= self.quiet_s:
            self._last = None
            log.info(self.relief, **self.about)
