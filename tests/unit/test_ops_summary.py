from __future__ import annotations

import pytest

from ops.summary import Seen, total


def seen(**changes: object) -> Seen:
    fields: dict[str, object] = {
        "selected_master": "a",
        "method": "rule-based",
        "confidence": 0.5,
        "ab_test_group": "control",
        "context_status": "ok",
        "latency_ms": 1.0,
    }
    return Seen(**{**fields, **changes})


def test_nothing_seen() -> None:
    summary = total([], 60, complete=True)
    assert (summary.total_routes, summary.ml_percentage, summary.mean_confidence) == (0, None, None)
    assert summary.latency_ms == {}
    assert summary.complete


def test_totals() -> None:
    decisions = [seen(latency_ms=float(number)) for number in range(1, 76)]
    decisions += [
        seen(
            selected_master="b",
            method="neural",
            confidence=0.9,
            ab_test_group="treatment",
            context_status="empty",
            latency_ms=float(number),
        )
        for number in range(76, 100)
    ]
    decisions += [
        seen(
            ab_test_group="treatment",
            context_status="disabled",
            latency_ms=100.0,
            fallback_reason="timeout",
        )
    ]
    summary = total(decisions, 60, complete=False)

    assert (summary.total_routes, summary.ml_routes, summary.rule_based_routes) == (100, 24, 76)
    assert summary.ml_percentage == pytest.approx(24)
    assert summary.mean_confidence == pytest.approx(0.596)
    assert summary.context_hit_share == pytest.approx(75 / 99)
    assert summary.latency_ms == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert summary.per_arm["treatment"].share == pytest.approx(0.25)
    assert summary.per_arm["treatment"].ml_share == pytest.approx(0.96)
    assert summary.per_master["b"].mean_confidence == pytest.approx(0.9)
    assert summary.fallbacks == {"timeout": 1}
    assert not summary.complete
