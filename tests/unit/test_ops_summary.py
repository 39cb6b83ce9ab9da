from __future__ import annotations

import pytest

from ops.monitor_text import sparkline, totals
from ops.summary import BINS, Seen, Summary, Window, summarise
from rollout.seen import Heard

SHARES = {1: 0.25, 2: 0.5}


def seen(**changes: object) -> Seen:
    fields: dict[str, object] = {
        "task_id": "t",
        "selected_master": "a",
        "method": "rule-based",
        "confidence": 0.5,
        "ab_test_group": "control",
        "context_status": "ok",
        "latency_ms": 1.0,
        "config_version": 1,
    }
    return Seen(**{**fields, **changes})  # type: ignore[arg-type] # the fields of a decision


def summary(decisions: list[Seen], heard: dict[str, list[Heard]] | None = None) -> Summary:
    window = Window(
        since_ms=0,
        until_ms=60_000,
        complete=False,
        decisions=[(number % 60_000, each) for number, each in enumerate(decisions)],
        heard=heard or {},
        shares=SHARES,
    )
    return summarise(window)


def test_nothing_seen() -> None:
    empty = summary([])
    assert (empty.total_routes, empty.ml_percentage, empty.mean_confidence) == (0, None, None)
    assert (empty.latency_ms, empty.accuracy) == ({}, None)
    assert empty.balance.verdict == "unknown"
    assert totals(empty)[-1] == "ML percentage: 0.00%"


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
    whole = summary(decisions)

    assert (whole.total_routes, whole.ml_routes, whole.rule_based_routes) == (100, 24, 76)
    assert whole.ml_percentage == pytest.approx(24)
    assert whole.mean_confidence == pytest.approx(0.596)
    assert whole.context_hit_share == pytest.approx(75 / 99)
    assert whole.latency_ms == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert whole.per_arm["treatment"].share == pytest.approx(0.25)
    assert whole.per_arm["treatment"].ml_share == pytest.approx(0.96)
    assert whole.per_arm["treatment"].latency_ms["p50"] == 88.0
    assert whole.per_master["b"].mean_confidence == pytest.approx(0.9)
    assert whole.per_master["b"].context_hit_share == 0
    assert whole.fallbacks == {"timeout": 1}
    assert not whole.complete
    assert whole.balance.verdict == "ok"
    assert totals(whole) == [
        "📊 ML Router Metrics",
        "====================",
        "Total routes: 100",
        "ML routes: 24",
        "Rule-based routes: 76",
        "ML percentage: 24.00%",
    ]


def test_accuracy_where_the_right_master_is_known() -> None:
    heard = {
        "confirmed": [Heard("a", "success", None)],
        "passed on": [Heard("a", "rerouted", "b")],
        "passed on somewhere": [Heard("a", "rerouted", None)],
        "failed": [Heard("a", "failed", None)],
        "failed, then confirmed": [Heard("a", "failed", None), Heard("a", "success", None)],
        "passed on, then done": [Heard("a", "rerouted", None), Heard("b", "success", None)],
        "done, then failed": [Heard("a", "success", None), Heard("a", "failed", None)],
    }
    whole = summary([seen(task_id=task_id) for task_id in (*heard, "silent")], heard)
    assert (whole.known, whole.right) == (6, 3)
    assert whole.accuracy == 0.5
    assert whole.per_arm["control"].accuracy == 0.5
    assert whole.per_arm["treatment"].accuracy is None


def test_the_series_covers_the_window() -> None:
    series = summary([seen() for _ in range(60_000)]).series
    assert [each.at_ms for each in series] == [number * 1_000 for number in range(BINS)]
    assert {each.routes for each in series} == {1_000}


def test_a_mismatch_is_told_and_only_what_the_hash_assigned_counts() -> None:
    treated = [seen(ab_test_group="treatment") for _ in range(400)]
    control = [seen() for _ in range(600)]
    forced = [seen(ab_test_group="treatment", assignment="forced") for _ in range(50)]
    unlogged = [seen(config_version=0) for _ in range(7)]
    balance = summary([*treated, *control, *forced, *unlogged]).balance
    assert balance.verdict == "mismatch"
    assert (balance.units, balance.treated, balance.not_counted) == (1_000, 400, 57)
    assert (balance.treated_share, balance.expected) == (0.4, 0.25)


def test_the_expected_share_is_that_of_each_decisions_configuration() -> None:
    decisions = [
        seen(config_version=version, ab_test_group="treatment" if number < treated else "control")
        for version, treated in ((1, 250), (2, 500))
        for number in range(1_000)
    ]
    balance = summary(decisions).balance
    assert balance.verdict == "ok"
    assert balance.expected == 0.375


def test_a_unit_counts_once_per_share() -> None:
    decisions = [
        seen(unit=f"repo-{number % 4}", config_version=1 + number // 500) for number in range(1_000)
    ]
    assert summary(decisions).balance.units == 8


def test_sparkline() -> None:
    assert sparkline([0, None, 0.5, 1]) == "▁ ▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([None]) == " "
