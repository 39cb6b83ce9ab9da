"""What a consumer holds (`Entry`) and what becomes of it (`Publish`, `Bury`, `Ack`, `Leave`)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Entry(Struct, frozen=True, gc=False):
    """One delivered stream entry.

    Attributes:
        stream: key of the stream it came from.
        id: its stream id.
        fields: as they were written; may be anything at all.
        attempt: deliveries so far by the server's own count, this one included.
        received: `time.perf_counter()` seconds at arrival.
    """

    stream: str
    id: bytes
    fields: Mapping[bytes, bytes]
    attempt: int
    received: float


class Publish(Struct, frozen=True, gc=False):
    """Send a decision to its master and to the audit stream, then acknowledge.

    Attributes:
        master: name of the master whose queue it goes to.
        audit: the copy for `decisions`; the payload itself where there is nothing to leave out.
    """

    entry: Entry
    task_id: str
    master: str
    payload: bytes
    audit: bytes


class Bury(Struct, frozen=True, gc=False):
    """Make a dead letter of it, then acknowledge.

    Attributes:
        reason: stable code from `contracts.reasons`.
        task_id: the id that is thereby dealt with, where the entry has a usable one.
    """

    entry: Entry
    reason: str
    detail: str
    task_id: str | None = None


class Ack(Struct, frozen=True, gc=False):
    """It is dealt with; only acknowledge."""

    entry: Entry


class Leave(Struct, frozen=True, gc=False):
    """Hand it back: someone tries again after a growing wait, up to the delivery limit."""

    entry: Entry


Settlement = Publish | Bury | Ack | Leave
