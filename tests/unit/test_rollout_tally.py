"""Decisions and outcomes are counted once each, in whatever order they come."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.seen import Heard, Seen, SeenShadow
from rollout.tally import Tally

if TYPE_CHECKING:
    from rollout.observation import Observation

SHARE = 0.5
MASTERS = ("development-master", "security-master", "cicd-master")


def seen(task_id: str = "t", **fields: object) -> Seen:
    usual: dict[str, Any] = {
        "selected_master": MASTERS[0],
        "confidence": 0.75,
        "ab_test_group": "control",
        "experiment": "router",
        "context_status": "ok",
        "latency_ms": 2.0,
        "config_version": 5,
    }
    return Seen(task_id, **usual | fields)


def observed(tally: Tally, *, pinned: bool = False) -> Observation:
    return tally.observation(1_000, pinned=pinned)


@st.composite
def _histories(draw: st.DrawFn) -> tuple[list[Seen], list[tuple[str, Heard]]]:
    count = draw(st.integers(1, 25))
    decisions = [
        seen(
            f"t{n}",
            ab_test_group=draw(st.sampled_from(["control", "treatment"])),
            selected_master=draw(st.sampled_from(MASTERS)),
        )
        for n in range(count)
    ]
    outcomes = [
        (
            each.task_id,
            Heard(
                draw(st.sampled_from([each.selected_master, MASTERS[1]])),
                draw(st.sampled_from(["success", "failed", "rerouted"])),
                draw(st.sampled_from([None, *MASTERS])),
            ),
        )
        for each in decisions
        if draw(st.booleans())
    ]
    return decisions, outcomes


@settings(max_examples=100, deadline=None)
@given(_histories(), st.integers(0, 2**32))
def test_any_order_with_any_repetition_comes_to_what_a_recount_says(
    history: tuple[list[Seen], list[tuple[str, Heard]]], seed: int
) -> None:
    decisions, outcomes = history
    entries: list[Seen | tuple[str, Heard]] = [*decisions, *outcomes, *decisions, *outcomes]
    random.Random(seed).shuffle(entries)
    tally = Tally(staged=0, window_ms=100)
    for each in entries:
        if isinstance(each, Seen):
            tally.decided(each, SHARE, at_ms=950)
        else:
            tally.reported(*each, at_ms=7)
    now = observed(tally)

    by_id = {each.task_id: each for each in decisions}
    for name, arm in (("control", now.control), ("treatment", now.treatment)):
        mine = [d for d in decisions if d.ab_test_group == name]
        heard = [(by_id[i], h) for i, h in outcomes if by_id[i].ab_test_group == name]
        done = [(d, h) for d, h in heard if h.outcome == "success"]
        passed_on = [(d, h) for d, h in heard if h.outcome == "rerouted"]
        assert arm.levels.decisions == len(mine)
        assert arm.outcomes == len(heard)
        assert arm.successes == sum(d.selected_master == h.master for d, h in done)
        assert arm.right == arm.successes + sum(
            d.selected_master == h.correct_master for d, h in passed_on
        )
        said = [x for x in passed_on if x[1].correct_master or x[0].selected_master == x[1].master]
        assert arm.known == len(done) + len(said)
        assert sum(each.n for each in arm.calibration) == arm.outcomes
        assert sum(each.right for each in arm.calibration) == arm.right
        assert sum(each.unknown for each in arm.calibration) == arm.outcomes - arm.known
    assert now.success.n == len(outcomes)
    assert now.accuracy.n == now.control.known + now.treatment.known
    assert now.ratio.odds.n == len(decisions)
    assert now.ratio.odds.hits == now.treatment.levels.decisions


def test_what_a_decision_says_of_itself_is_counted() -> None:
    tally = Tally(staged=0, window_ms=100)
    tally.decided(
        seen("a", ab_test_group="treatment", fallback_reason="abstained"), SHARE, at_ms=950
    )
    tally.decided(seen("b", ab_test_group="treatment", context_status="empty"), SHARE, at_ms=950)
    tally.decided(seen("c", ab_test_group="treatment", context_status="disabled"), SHARE, at_ms=950)
    arm = observed(tally).treatment
    assert arm.levels.fallbacks == {"abstained": 1}
    assert (arm.levels.sought, arm.levels.found) == (2, 1)
    assert sum(arm.levels.latency.values()) == 3


def test_a_stage_counts_its_own_decisions_and_effects_count_all() -> None:
    tally = Tally(staged=5, window_ms=100)
    tally.decided(seen("old", ab_test_group="treatment"), SHARE, at_ms=950)
    tally.enter(6)
    tally.decided(seen("new", ab_test_group="treatment", config_version=6), SHARE, at_ms=950)
    for task_id in ("old", "new"):
        tally.reported(task_id, Heard(MASTERS[0], "success", None), at_ms=9)
    now = observed(tally)
    assert (now.treatment.levels.decisions, now.treatment.outcomes, now.treatment.heard_ms) == (
        1,
        1,
        9,
    )
    assert now.success.treated == 2
    assert now.ratio.odds.n == 2


def test_a_unit_of_several_tasks_is_counted_once() -> None:
    tally = Tally(staged=0, window_ms=100)
    for n in range(10):
        tally.decided(seen(f"t{n}", unit="acme/site", ab_test_group="treatment"), SHARE, at_ms=950)
    tally.decided(seen("after", unit="acme/site", ab_test_group="treatment"), 0.75, at_ms=950)
    now = observed(tally)
    assert now.treatment.levels.decisions == 11
    assert now.ratio.odds.n == 1


def test_a_model_in_shadow_is_compared_on_the_same_tasks() -> None:
    tally = Tally(staged=0, window_ms=100)
    cases = {
        "both right": (MASTERS[0], Heard(MASTERS[0], "success", None)),
        "rules right": (MASTERS[1], Heard(MASTERS[0], "success", None)),
        "model right": (MASTERS[1], Heard(MASTERS[0], "rerouted", MASTERS[1])),
        "both wrong": (MASTERS[0], Heard(MASTERS[0], "failed", None)),
        "unknown": (MASTERS[1], Heard(MASTERS[0], "failed", None)),
    }
    for name, (opinion, heard) in cases.items():
        tally.decided(
            seen(name, shadow=SeenShadow(opinion, "v2"), model_version="v1"), 0.0, at_ms=950
        )
        tally.reported(name, heard, at_ms=1)
    tally.decided(seen("not heard of", shadow=SeenShadow(MASTERS[0], "v2")), 0.0, at_ms=950)
    tally.decided(seen("of the rules", shadow=SeenShadow(MASTERS[0])), 0.0, at_ms=950)
    shadow = observed(tally).shadow
    assert shadow is not None
    assert (shadow.model, shadow.champion) == ("v2", False)
    assert (shadow.decisions, shadow.agreed, shadow.outcomes) == (6, 3, 5)
    assert (shadow.right, shadow.rules_right, shadow.differing, shadow.open) == (2, 2, 2, 1)


@pytest.mark.parametrize(("pinned", "heard"), [(False, "new"), (True, "pinned")])
def test_the_newest_model_is_listened_to_unless_one_is_pinned(
    pinned: bool,  # noqa: FBT001 - a parameter of the test
    heard: str,
) -> None:
    tally = Tally(staged=0, window_ms=100)
    tally.decided(
        seen("a", shadow=SeenShadow(MASTERS[0], "pinned"), model_version="pinned"), 0.0, at_ms=950
    )
    tally.decided(
        seen("b", shadow=SeenShadow(MASTERS[0], "new"), model_version="pinned"), 0.0, at_ms=950
    )
    shadow = observed(tally, pinned=pinned).shadow
    assert shadow is not None
    assert shadow.model == heard


def test_what_is_older_than_its_memory_is_lost_and_nothing_else() -> None:
    tally = Tally(staged=0, window_ms=100, memory=10)
    for n in range(100):
        tally.decided(seen(f"t{n}"), SHARE, at_ms=950)
    for n in range(100):
        tally.reported(f"t{n}", Heard(MASTERS[0], "success", None), at_ms=1)
    heard = observed(tally).control.outcomes
    assert 10 <= heard <= 20


def test_what_is_recent_was_decided_in_the_last_while() -> None:
    tally = Tally(staged=0, window_ms=100)
    for at_ms in (100, 850, 899, 900, 999, 1_000):
        tally.decided(seen(str(at_ms), latency_ms=at_ms), SHARE, at_ms=at_ms)
    arm = observed(tally).control
    assert (arm.levels.decisions, arm.recent.decisions) == (6, 3)
    assert sum(arm.recent.latency.values()) == 3
    assert tally.observation(5_000, pinned=False).control.recent.decisions == 0
