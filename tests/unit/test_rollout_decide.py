"""What follows from the gates: on, not yet, stop, or back."""

from __future__ import annotations

import msgspec
import pytest
from test_rollout_gates import UNSEEN, arm, effect

from contracts.messages import Arm, RolloutConfig
from rollout.decide import Action, History, Step, as_dict, decide
from rollout.observation import Observation, Shadow
from rollout.stages import Plan, read_plan
from rollout.statistics.sample_ratio import SampleRatioMonitor
from rollout.timeline import Timeline

PLAN = """
interval_s = 1
alpha = 0.05

[[stage]]
name = "shadow"
percentage = 0.0
min_samples = 100
patience_s = 50
gates = ["accuracy"]

[[stage]]
name = "canary"
percentage = 0.25
min_time_s = 100
min_samples = 100
patience_s = 50
gates = ["errors", "ratio", "success"]

[[stage]]
name = "full"
percentage = 1.0
patience_s = 50
gates = ["errors"]

[gates.accuracy]
metric = "accuracy"
margin = 0.05

[gates.success]
metric = "success"
margin = 0.05

[gates.ratio]
metric = "sample_ratio"
on_failure = "pause"

[gates.errors]
metric = "errors"
at_most = 0.01
failure_limit = 1
"""
NOW_MS = 1_000_000
GOOD = effect(0.8, 0.8, 20_000)
BAD = effect(0.8, 0.5, 2_000)
SOUND = SampleRatioMonitor().update(250, 0.25, 1_000)
BROKEN_RATIO = SampleRatioMonitor().update(100, 0.25, 1_000)


def plan(text: str = PLAN) -> Plan:
    return read_plan(text)


def timeline(stage: str | None = "canary", since_s: float = 200.0, **config: object) -> Timeline:
    percentage = {"canary": 0.25, "full": 1.0}.get(stage or "", 0.0)
    now = msgspec.structs.replace(
        RolloutConfig(version=7, stage=stage, percentage=percentage), **config
    )
    made_ms = NOW_MS - int(1_000 * since_s)
    return Timeline(
        configs={7: now}, begun=7, staged=7, begun_ms=0, staged_ms=made_ms, changed_ms=made_ms
    )


def seen(errors: int = 0, outcomes: int = 500, **fields: object) -> Observation:
    treatment = arm(
        decisions=1_000,
        outcomes=outcomes,
        heard_ms=NOW_MS - 1_000 if outcomes else 0,
        fallbacks={"model_error": errors},
    )
    usual: dict[str, object] = {
        "treatment": treatment,
        "success": GOOD,
        "ratio": SOUND,
        "models": {"v1": 1_000},
        "at_ms": NOW_MS,
    }
    return msgspec.structs.replace(UNSEEN, **usual | fields)


def action(now: Observation, at: Timeline, history: History | None = None) -> Action:
    return decide(plan(), at, now, history or History()).action


def in_shadow(right: int = 3_200, *, champion: bool = False) -> Observation:
    shadow = Shadow(
        model="v2",
        champion=champion,
        decisions=4_000,
        agreed=3_000,
        outcomes=4_000,
        right=right,
        rules_right=3_200,
        differing=800,
        open=0,
    )
    control = arm(decisions=4_000, outcomes=4_000, heard_ms=NOW_MS - 1_000)
    return seen(outcomes=0, control=control, shadow=shadow, models={})


def test_when_all_gates_pass_it_advances_and_says_by_which_figures() -> None:
    done = action(seen(), timeline())
    assert (done.kind, done.stage, done.model) == ("advance", "full", None)
    assert done.reason.startswith("canary passed with 500 outcomes: errors 0.00% of 1,000")
    assert "success" in done.reason
    assert "sample ratio" in done.reason


def test_it_waits_for_time_and_for_samples_and_says_what_else_is_lacking() -> None:
    early = action(seen(), timeline(since_s=20))
    assert (early.kind, early.reason) == ("hold", "canary: 20.0 s of 100.0 s")
    few = action(seen(outcomes=99, success=effect(0.8, 0.8, 300)), timeline())
    assert few.kind == "hold"
    assert few.reason.startswith("canary: 99 of 100 outcomes; success")
    unsure = action(seen(success=effect(0.8, 0.8, 300)), timeline())
    assert unsure.kind == "hold"
    assert "not yet known" in unsure.reason


def test_a_harm_is_rolled_back_before_time_and_samples_are_through() -> None:
    back = action(seen(success=BAD, outcomes=50), timeline(since_s=1))
    assert back.kind == "rollback"
    assert back.reason.startswith("canary: success -0.")
    assert "surely worse" in back.reason


def test_a_rollback_goes_before_a_pause() -> None:
    assert action(seen(ratio=BROKEN_RATIO), timeline()).kind == "pause"
    assert action(seen(ratio=BROKEN_RATIO, success=BAD), timeline()).kind == "rollback"


def test_a_gate_may_fail_as_often_as_its_limit_says() -> None:
    failing, at = seen(errors=100), timeline()
    first = decide(plan(), at, failing, History())
    assert first.action.kind == "hold"
    assert first.history == History(staged=7, failures={"errors": 1})
    second = decide(plan(), at, failing, first.history)
    assert second.action.kind == "rollback"
    assert second.action.reason.endswith("(2 times)")
    fresh = decide(plan(), msgspec.structs.replace(at, staged=8), failing, first.history)
    assert fresh.history == History(staged=8, failures={"errors": 1})


def test_a_dry_run_has_no_consequences() -> None:
    text = PLAN.replace('metric = "success"', 'metric = "success"\ndry_run = true')
    step = decide(plan(text), timeline(), seen(success=BAD), History())
    assert [v.answer for v in step.verdicts] == ["pass", "pass", "fail"]
    assert step.action.kind == "advance"


def test_what_fails_in_shadow_harms_nobody_and_is_paused() -> None:
    done = action(in_shadow(right=2_400), timeline("shadow"))
    assert done.kind == "pause"
    assert "surely worse" in done.reason


@pytest.mark.parametrize(
    ("champion", "configured", "model"),
    [(False, None, "v2"), (True, None, None), (True, "v2", None)],
)
def test_from_shadow_it_goes_on_with_the_model_that_was_heard(
    champion: bool,  # noqa: FBT001 - a parameter of the test
    configured: str | None,
    model: str | None,
) -> None:
    done = action(in_shadow(champion=champion), timeline("shadow", model=configured))
    assert (done.kind, done.stage, done.model) == ("advance", "canary", model)


def test_silence_pauses_after_the_patience_of_the_stage() -> None:
    silent = seen(outcomes=0, success=effect(0.8, 0.8, 0))
    assert action(silent, timeline(since_s=49)).kind == "hold"
    done = action(silent, timeline(since_s=51))
    assert done.kind == "pause"
    assert (
        done.reason == "canary: no outcome of treatment's tasks for 51.0 s (0 in this stage so far)"
    )
    fell_silent = seen()
    late = msgspec.structs.replace(fell_silent, at_ms=NOW_MS + 60_000)
    assert action(late, timeline()).kind == "pause"


def test_what_cannot_be_measured_pauses_after_the_patience() -> None:
    unknown = seen(ratio=SampleRatioMonitor())
    assert action(unknown, timeline(since_s=49)).kind == "hold"
    done = action(unknown, timeline(since_s=150))
    assert done.kind == "pause"
    assert "sample_ratio unknown: no decisions yet" in done.reason


def test_the_last_stage_is_watched_for_ever() -> None:
    quiet = seen(outcomes=0)
    assert action(quiet, timeline("full", since_s=9_999)).kind == "hold"
    assert "last stage" in action(seen(), timeline("full")).reason
    history = History(staged=7, failures={"errors": 1})
    assert action(seen(errors=200), timeline("full"), history).kind == "rollback"


def test_several_models_in_treatment_pause() -> None:
    done = action(seen(models={"v1": 900, "v2": 100}), timeline())
    assert done.kind == "pause"
    assert "v1 (900), v2 (100)" in done.reason


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (timeline(paused="a person is looking"), "paused: a person is looking"),
        (timeline(None, percentage=0.3), "by hand"),
        (timeline("unheard-of"), "no stage 'unheard-of'"),
        (timeline(percentage=0.3), "is at 30.00%, by the plan 25.00%"),
        (timeline(arms=(Arm(name="a", buckets=(0, 10)),)), "several arms"),
    ],
)
def test_what_is_none_of_its_business_is_left_alone(at: Timeline, why: str) -> None:
    step = decide(plan(), at, seen(success=BAD), History(staged=7, failures={"errors": 1}))
    assert (step.action.kind, step.verdicts, step.history) == ("hold", (), History())
    assert why in step.action.reason


def test_a_step_can_be_written_down() -> None:
    step = decide(plan(), timeline(), seen(), History())
    assert isinstance(step, Step)
    written = msgspec.json.decode(msgspec.json.encode(as_dict(step)))
    assert (written["kind"], written["stage"]) == ("advance", "full")
    assert [gate["answer"] for gate in written["gates"]] == ["pass"] * 3
