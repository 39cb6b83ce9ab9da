"""Decisions as workers publish them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.encode import encode_decision
from contracts.messages import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis


def decision(task_id: str, **changes: object) -> Decision:
    fields: dict[str, object] = {
        "task_id": task_id,
        "timestamp": "2026-01-01T00:00:00Z",
        "description": "Fix it",
        "metadata": None,
        "selected_master": "development-master",
        "method": "rule-based",
        "confidence": 0.75,
        "ab_test_group": "control",
        "bucket": 7,
        "experiment": "router",
        "scores": {"development-master": 1.0},
        "propensity": 1.0,
        "rules_version": "r",
        "model_version": None,
        "index_generation": None,
        "context": [],
        "context_status": "empty",
        "latency_ms": 1.0,
        "attempt": 1,
        "config_version": 0,
    }
    return Decision(**{**fields, **changes})


def publish(client: Redis, stream: str, decisions: Iterable[Decision]) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for each in decisions:
            pipeline.xadd(stream, {"task_id": each.task_id, "decision": encode_decision(each)})
        pipeline.execute()
