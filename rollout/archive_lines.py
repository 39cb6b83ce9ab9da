"""The lines of the metrics file, one a decision, and of a second file, one a late outcome.

The first six fields are the original system's, under its names and in its order, without spaces:
what counted its lines or looked for `"outcome":"failed"` finds what it found there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from contracts.messages import Assignment, ContextStatus, Group, Method, OutcomeKind, Shadow

if TYPE_CHECKING:
    from contracts.messages import Outcome


class Decided(Struct, frozen=True, kw_only=True, gc=False):
    """What the archive keeps of a decision; nothing else of it is parsed."""

    timestamp: str
    task_id: str
    method: Method
    selected_master: str
    confidence: float
    ab_test_group: Group
    bucket: int
    experiment: str
    arm: str | UnsetType = UNSET
    assignment: Assignment | UnsetType = UNSET
    unit: str | UnsetType = UNSET
    model_version: str | None
    rules_version: str
    config_version: int
    fallback_reason: str | UnsetType = UNSET
    context_status: ContextStatus
    latency_ms: float
    attempt: int
    propensity: float
    shadow: Shadow | UnsetType = UNSET


class Reported(Struct, frozen=True, kw_only=True, gc=False):
    """What the archive keeps of an outcome.

    Attributes:
        outcome_master: who reports.
        outcome_entry: id of the entry of `outcomes`.
    """

    outcome: OutcomeKind
    outcome_master: str
    correct_master: str | UnsetType = UNSET
    score: float | UnsetType = UNSET
    duration_ms: float | UnsetType = UNSET
    outcome_entry: str


class Place(Struct, frozen=True, kw_only=True, gc=False):
    """Which entries a line was made of, read back from it.

    Attributes:
        stream: the stream of decisions; absent from lines of late outcomes.
        entry: id of the decision's entry there.
        outcome_entry: id of the entry of `outcomes`; absent where none was heard.
    """

    stream: str | None = None
    entry: str | None = None
    outcome_entry: str | None = None


class _Source(Struct, frozen=True, gc=False):
    stream: str
    entry: str


class _Subject(Struct, frozen=True, gc=False):
    task_id: str


T = TypeVar("T")

_DECIDED: Final = msgspec.json.Decoder(Decided)
_PLACE: Final = msgspec.json.Decoder(Place)
_ENCODER: Final = msgspec.json.Encoder()


def read_decision(payload: bytes) -> Decided | None:
    """Read the field `decision` of an entry of `decisions`; None if no worker wrote it."""
    try:
        return _DECIDED.decode(payload)
    except msgspec.DecodeError:
        return None


def reported(outcome: Outcome, entry: str) -> Reported:
    """Keep of an outcome what the archive keeps."""
    return Reported(
        outcome=outcome.outcome,
        outcome_master=outcome.master,
        correct_master=_given(outcome.correct_master),
        score=_given(outcome.score),
        duration_ms=_given(outcome.duration_ms),
        outcome_entry=entry,
    )


def decision_line(decided: Decided, stream: str, entry: str, outcome: Reported | None) -> bytes:
    """Write a decision, and its outcome where it was heard, as one JSON object."""
    parts = (decided, _Source(stream, entry), *(() if outcome is None else (outcome,)))
    return _joined(*parts)


def late_line(task_id: str, outcome: Reported) -> bytes:
    """Write an outcome whose decision has its line already, or never had one."""
    return _joined(_Subject(task_id), outcome)


def read_place(line: bytes) -> Place:
    """Read which entries a line was made of.

    Raises:
        msgspec.DecodeError: it is none of ours.
    """
    return _PLACE.decode(line)


def _joined(*parts: Struct) -> bytes:
    """One object of the members of several, each of which has some."""
    return b"{" + b",".join(_ENCODER.encode(part)[1:-1] for part in parts) + b"}"


def _given(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value
