"""Rows of the data set for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from learning.records import DecisionRecord, OutcomeRecord

if TYPE_CHECKING:
    from pathlib import Path

    from learning.parts import Manifest

MINUTE = 60_000
T0 = 1_700_000_000_000


def decided(task_id: str, at_ms: int = T0, **changes: object) -> DecisionRecord:
    fields: dict[str, object] = {
        "stream": "decisions",
        "entry_id": f"{at_ms}-0",
        "at_ms": at_ms,
        "task_id": task_id,
        "text": f"do {task_id}",
        "repo": None,
        "timestamp": "2026-01-01T00:00:00Z",
        "selected_master": "development-master",
        "method": "rule-based",
        "ab_test_group": "control",
        "bucket": 7,
        "experiment": "router",
        "confidence": 0.75,
        "fallback_reason": None,
        "scores": {"development-master": 0.75, "security-master": 0.25},
        "propensity": 1.0,
        "shadow_master": None,
        "shadow_confidence": None,
        "shadow_model": None,
        "rules_version": "r",
        "model_version": None,
        "config_version": 0,
    }
    return DecisionRecord(**{**fields, **changes})  # type: ignore[arg-type]


def outcome(
    task_id: str, kind: str = "success", at_ms: int = T0 + MINUTE, **changes: object
) -> OutcomeRecord:
    fields: dict[str, object] = {
        "stream": "outcomes",
        "entry_id": f"{at_ms}-0",
        "at_ms": at_ms,
        "task_id": task_id,
        "master": "development-master",
        "outcome": kind,
        "correct_master": None,
        "score": None,
        "duration_ms": None,
        "detail": None,
    }
    return OutcomeRecord(**{**fields, **changes})  # type: ignore[arg-type]


def files(root: Path, manifest: Manifest) -> set[str]:
    """Names of the parts on disk, after checking that those of the manifest are among them."""
    there = {path.name for path in root.glob("*.parquet")}
    assert {part.name for part in manifest.parts} <= there
    return there
