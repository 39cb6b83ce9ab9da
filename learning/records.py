"""What the data set keeps of a decision and of an outcome, and the two side by side.

Times are those of the stream entries, by the server's clock, so that both are on one clock and
later means later whoever wrote the entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct

if TYPE_CHECKING:
    from contracts.messages import Decision, Outcome
    from streams.entry import Entry

_REPOSITORY = ("repo", "repository")  # keys of a task's metadata, the first that is there


class DecisionRecord(Struct, frozen=True):
    """One entry of `decisions`; a row of the table of that name.

    Attributes:
        stream: key of the stream, with prefix and partition.
        at_ms: when it was decided, in milliseconds since 1970.
        text: the task's description.
        repo: what the task's metadata call its repository.
        timestamp: when it was decided, as the worker wrote it.
        propensity: probability with which the policy chose `selected_master`.
        shadow_master: what the router that was not followed would have chosen.
    """

    stream: str
    entry_id: str
    at_ms: int
    task_id: str
    text: str
    repo: str | None
    timestamp: str
    selected_master: str
    method: str
    ab_test_group: str
    bucket: int
    experiment: str
    confidence: float
    fallback_reason: str | None
    scores: dict[str, float]
    propensity: float
    shadow_master: str | None
    shadow_confidence: float | None
    shadow_model: str | None
    rules_version: str
    model_version: str | None
    config_version: int


class OutcomeRecord(Struct, frozen=True):
    """One entry of `outcomes`; a row of the table of that name.

    Attributes:
        at_ms: when it was reported, in milliseconds since 1970.
        master: who reports.
        score: quality of the result, 0-1.
    """

    stream: str
    entry_id: str
    at_ms: int
    task_id: str
    master: str
    outcome: str
    correct_master: str | None
    score: float | None
    duration_ms: float | None
    detail: str | None


class Reported(NamedTuple):
    """A decision and the last that was reported of it.

    Who reported is another than who was selected where the task was passed on.
    """

    decision: DecisionRecord
    outcome: OutcomeRecord


def decision_record(entry: Entry, decision: Decision) -> DecisionRecord:
    """Keep of a decision what teaches, what is needed to judge policies, and what to audit by."""
    shadow = None if decision.shadow is UNSET else decision.shadow
    return DecisionRecord(
        stream=entry.stream,
        entry_id=entry.id.decode(),
        at_ms=_milliseconds(entry),
        task_id=decision.task_id,
        text=decision.description,
        repo=_repository(decision.metadata),
        timestamp=decision.timestamp,
        selected_master=decision.selected_master,
        method=decision.method,
        ab_test_group=decision.ab_test_group,
        bucket=decision.bucket,
        experiment=decision.experiment,
        confidence=decision.confidence,
        fallback_reason=_or_none(decision.fallback_reason),
        scores=decision.scores,
        propensity=decision.propensity,
        shadow_master=shadow.selected_master if shadow else None,
        shadow_confidence=shadow.confidence if shadow else None,
        shadow_model=_or_none(shadow.model_version) if shadow else None,
        rules_version=decision.rules_version,
        model_version=decision.model_version,
        config_version=decision.config_version,
    )


def outcome_record(entry: Entry, outcome: Outcome) -> OutcomeRecord:
    """Keep of an outcome everything but the files, which no router learns from."""
    return OutcomeRecord(
        stream=entry.stream,
        entry_id=entry.id.decode(),
        at_ms=_milliseconds(entry),
        task_id=outcome.task_id,
        master=outcome.master,
        outcome=outcome.outcome,
        correct_master=outcome.correct_master,
        score=outcome.score,
        duration_ms=outcome.duration_ms,
        detail=outcome.detail,
    )


def _milliseconds(entry: Entry) -> int:
    return int(entry.id.partition(b"-")[0])


def _or_none(value: Any) -> str | None:  # noqa: ANN401 - UNSET has a type of its own
    return None if value is UNSET else value


def _repository(metadata: Raw | None) -> str | None:
    known = msgspec.json.decode(metadata) if metadata is not None else {}
    named = (known[key] for key in _REPOSITORY if key in known)
    return next((name for name in named if isinstance(name, str) and name), None)
