"""The one tree of errors. Which branch an error is on says what happens to the work it hit.

* `TransientError`: try again later; nothing is acknowledged.
* `PoisonError`: this entry can never be handled; it becomes a dead letter, its neighbours go on.
* `FatalError`: this process cannot go on; it says one clear line and exits.
"""

from __future__ import annotations


class CortexError(Exception):
    """Root of every error Cortex raises on purpose."""


class TransientError(CortexError):
    """The surroundings failed (network, server, disk); the same call may succeed later."""


class FatalError(CortexError):
    """The process cannot do its job as configured; a person must change something."""


class PoisonError(CortexError):
    """An entry that can never be handled.

    Attributes:
        reason: a stable code from `contracts.reasons`, safe to alert and group on.
        detail: one sentence for people; may change between versions.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
