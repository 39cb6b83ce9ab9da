"""Writes every message of the wire contract; `contracts.parse` reads the same values back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

if TYPE_CHECKING:
    from contracts.messages import (
        ContextItem,
        DeadLetter,
        Decision,
        FileChange,
        Outcome,
        RolloutConfig,
        Task,
    )

Fields = dict[str, str | bytes]

_ENCODER: Final = msgspec.json.Encoder()


def encode_decision(decision: Decision) -> bytes:
    """Write a decision as one line of JSON, unknown fields beside the known ones."""
    if not decision.extra:
        return _ENCODER.encode(decision)
    known: dict[str, Any] = {
        name: value
        for name in decision.__struct_fields__
        if name != "extra" and (value := getattr(decision, name)) is not UNSET
    }
    return _ENCODER.encode(decision.extra | known)


def encode_reference(decision: Decision, encoded: bytes | None = None) -> bytes:
    """Write a decision with its context as references only: paths and lines without text.

    Args:
        decision: the decision.
        encoded: what `encode_decision` made of it, where the caller has it; returned as the very
            same object if there is no text to leave out.
    """
    if not decision.context or not any(item.text for item in decision.context):
        return encoded if encoded is not None else encode_decision(decision)
    references = [_reference(item) for item in decision.context]
    return encode_decision(msgspec.structs.replace(decision, context=references))


def _reference(item: ContextItem) -> ContextItem:
    return msgspec.structs.replace(item, text=UNSET)


def task_fields(task: Task) -> Fields:
    """Write a task as the fields of an entry of `tasks`."""
    fields: Fields = {**task.extra, "task_id": task.task_id, "description": task.description}
    if task.metadata is not None:
        fields["metadata"] = bytes(task.metadata)
    return _with(fields, traceparent=task.traceparent, tracestate=task.tracestate)


def outcome_fields(outcome: Outcome) -> Fields:
    """Write an outcome as the fields of an entry of `outcomes`."""
    fields: Fields = {
        **outcome.extra,
        "task_id": outcome.task_id,
        "master": outcome.master,
        "outcome": outcome.outcome,
    }
    if outcome.files:
        fields["files"] = _ENCODER.encode(outcome.files)
    return _with(
        fields,
        correct_master=outcome.correct_master,
        score=outcome.score,
        duration_ms=outcome.duration_ms,
        detail=outcome.detail,
    )


def file_change_fields(change: FileChange) -> Fields:
    """Write a file change as the fields of an entry of `files`."""
    fields: Fields = {**change.extra, "op": change.op, "path": change.path}
    return _with(fields, old_path=change.old_path, collection=change.collection, root=change.root)


def dead_letter_fields(letter: DeadLetter) -> Fields:
    """Write a dead letter as the fields of an entry of `dead`."""
    return {
        **letter.extra,
        "source": letter.source,
        "entry_id": letter.entry_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "payload": _ENCODER.encode(letter.payload),
        "attempts": str(letter.attempts),
        "at": letter.at,
    }


def rollout_fields(config: RolloutConfig) -> Fields:
    """Write all of `control:rollout`; "" where nothing is set, so that HSET clears older values."""
    return {
        "version": str(config.version),
        "percentage": repr(config.percentage),
        "enable_neural": "true" if config.enable_neural else "false",
        "enable_rag": "true" if config.enable_rag else "false",
        "experiment": config.experiment,
        "model": config.model or "",
        "exploration": repr(config.exploration),
        "attribute": config.attribute,
        "coverage": repr(config.coverage),
        "namespace": _json(config.namespace),
        "arms": _json(config.arms),
        "force": "true" if config.force else "false",
        "stage": config.stage or "",
        "stage_since": config.stage_since or "",
        "paused": config.paused or "",
    }


def _json(value: object) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def _with(fields: Fields, **optional: str | float | None) -> Fields:
    fields.update({name: str(value) for name, value in optional.items() if value is not None})
    return fields
