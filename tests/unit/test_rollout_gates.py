"""Gates have three answers, and say in one sentence why."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest

from rollout.gates import Answer, Verdict, calibration_error, judge
from rollout.observation import Arm, Bin, Levels, Observation, Shadow
from rollout.sketch import bin_of
from rollout.stages import Gate, Metric
from rollout.statistics.sample_ratio import SampleRatioMonitor
from rollout.statistics.sequences import EffectMonitor

ALPHA = 0.05
NOTHING = Arm(
    levels=Levels(),
    recent=Levels(),
    outcomes=0,
    successes=0,
    heard_ms=0,
    known=0,
    right=0,
    squares=0.0,
    calibration=(Bin(),) * 10,
)
UNSEEN = Observation(
    control=NOTHING,
    treatment=NOTHING,
    success=EffectMonitor(),
    accuracy=EffectMonitor(),
    ratio=SampleRatioMonitor(),
    models={},
    shadow=None,
    at_ms=0,
)


def effect(control: float, treatment: float, n: int, share: float = 0.25) -> EffectMonitor:
    chance = np.random.default_rng(1)
    treated = chance.random(n) < share
    rewards = chance.random(n) < np.where(treated, treatment, control)
    return EffectMonitor().update(treated, rewards, share)


def arm(recent: Levels | None = None, **fields: object) -> Arm:
    """An arm, all of whose decisions are recent if nothing else is said."""
    levels = Levels(**{k: v for k, v in fields.items() if k in Levels.__struct_fields__})
    others = {k: v for k, v in fields.items() if k not in Levels.__struct_fields__}
    return msgspec.structs.replace(NOTHING, levels=levels, recent=recent or levels, **others)


def asked(gate: Gate, percentage: float = 0.25, **fields: object) -> Verdict:
    seen = msgspec.structs.replace(UNSEEN, **fields)
    return judge(gate, seen, percentage=percentage, alpha=ALPHA)


@pytest.mark.parametrize(
    ("treatment", "n", "answer", "said"),
    [
        (0.6, 5_000, "fail", "surely worse"),
        (0.8, 200, "inconclusive", "not yet known to be above -0.050"),
        (0.8, 20_000, "pass", "not worse by 0.050"),
    ],
)
@pytest.mark.parametrize("metric", ["success", "accuracy"])
def test_a_comparison(metric: Metric, treatment: float, n: int, answer: Answer, said: str) -> None:
    monitor = effect(0.8, treatment, n)
    gate = Gate(name="g", metric=metric, margin=0.05)
    verdict = asked(gate, success=monitor) if metric == "success" else asked(gate, accuracy=monitor)
    assert (verdict.answer, verdict.limit) == (answer, -0.05)
    assert verdict.value == pytest.approx(treatment - 0.8, abs=0.1)
    assert verdict.sentence.startswith(f"{metric} {verdict.value:+.3f} (")
    assert f"{n:,} outcomes, {monitor.treated:,} of them of treatment" in verdict.sentence
    assert said in verdict.sentence


def test_a_harm_that_is_allowed_is_no_failure() -> None:
    worse = effect(0.8, 0.7, 5_000)
    low, high = worse.interval(ALPHA)
    assert low > -0.2
    assert high < 0
    strict, lenient = (
        Gate(name="g", metric="success", margin=0.2, harm=harm) for harm in (0.0, 0.15)
    )
    assert asked(strict, success=worse).answer == "fail"
    assert asked(lenient, success=worse).answer == "pass"


@pytest.mark.parametrize(
    ("metric", "fields", "answer"),
    [
        ("errors", {"decisions": 1_000, "fallbacks": {"abstained": 500}}, "pass"),
        ("errors", {"decisions": 1_000, "fallbacks": {"model_error": 60}}, "fail"),
        ("errors", {"decisions": 50, "fallbacks": {"model_error": 1}}, "inconclusive"),
        ("fallbacks", {"decisions": 1_000, "fallbacks": {"abstained": 500}}, "fail"),
        ("fallbacks", {"decisions": 1_000, "fallbacks": {"abstained": 9}}, "pass"),
        ("latency_p99", {"decisions": 100, "latency": {bin_of(0.005): 100}}, "pass"),
        ("latency_p99", {"decisions": 99, "latency": {bin_of(0.005): 98, 9: 1}}, "inconclusive"),
        ("latency_p99", {"decisions": 99, "latency": {bin_of(0.005): 50, 9: 49}}, "fail"),
    ],
)
def test_a_level_that_must_not_be_exceeded(
    metric: Metric, fields: dict[str, object], answer: Answer
) -> None:
    verdict = asked(Gate(name="g", metric=metric, at_most=0.01), treatment=arm(**fields))
    assert verdict.answer == answer
    assert verdict.value is not None
    assert (verdict.value <= 0.01) == (answer == "pass")
    assert "at most" in verdict.sentence


@pytest.mark.parametrize(
    ("metric", "fields", "well"),
    [
        ("errors", {"fallbacks": {"model_error": 60}}, {}),
        ("latency_p99", {"latency": {bin_of(400.0): 1_000}}, {"latency": {bin_of(0.005): 10}}),
    ],
)
def test_what_is_over_is_no_failure(
    metric: Metric, fields: dict[str, object], well: dict[str, object]
) -> None:
    gate = Gate(name="g", metric=metric, at_most=0.01)
    for recent in (Levels(decisions=10, **well), Levels()):
        verdict = asked(gate, treatment=arm(recent, decisions=1_000, **fields))
        assert verdict.answer == "inconclusive"
        assert verdict.sentence.endswith("but not lately")


@pytest.mark.parametrize(
    ("found", "sought", "answer"),
    [(90, 100, "pass"), (7, 10, "inconclusive"), (600, 1_000, "fail")],
)
def test_a_level_that_must_be_reached(found: int, sought: int, answer: Answer) -> None:
    gate = Gate(name="g", metric="context", at_least=0.8)
    verdict = asked(gate, treatment=arm(sought=sought, found=found))
    assert verdict.answer == answer
    assert "at least 80.00%" in verdict.sentence


def test_failures_by_chance_are_as_rare_as_stated_however_often_one_looks() -> None:
    gate = Gate(name="g", metric="errors", at_most=0.02)
    chance = np.random.default_rng(5)
    alarms, runs = 0, 200
    for _ in range(runs):
        errors = np.cumsum(chance.random(3_000) < 0.02)
        looks = (
            arm(decisions=n, fallbacks={"model_error": int(errors[n - 1])})
            for n in range(100, 3_001, 100)
        )
        alarms += any(asked(gate, treatment=each).answer == "fail" for each in looks)
    assert alarms <= runs * ALPHA


@pytest.mark.parametrize(("lost", "answer"), [(0.0, "pass"), (0.2, "fail")])
def test_the_sample_ratio(lost: float, answer: Answer) -> None:
    n = 20_000
    treated = round(0.25 * n * (1 - lost))
    ratio = SampleRatioMonitor().update(treated, 0.25, n - round(0.25 * n * lost))
    verdict = asked(Gate(name="g", metric="sample_ratio"), ratio=ratio)
    assert (verdict.answer, verdict.limit) == (answer, ALPHA / 2)
    assert "25.00% expected" in verdict.sentence


def test_in_shadow_the_model_is_compared_on_the_same_tasks() -> None:
    gate = Gate(name="g", metric="accuracy", margin=0.05)

    def shadow(right: int, open_: int = 0, n: int = 4_000) -> Verdict:
        rules_right = 8 * n // 10
        heard = Shadow(
            model="v2",
            champion=True,
            decisions=n,
            agreed=0,
            outcomes=n,
            right=right,
            rules_right=rules_right,
            differing=abs(right - rules_right) + n // 10,
            open=open_,
        )
        return asked(gate, percentage=0.0, shadow=heard)

    assert shadow(3_200).answer == "pass"
    assert shadow(2_400).answer == "fail"
    # Nobody said who was right on 800 tasks the rules failed: the model may be as good as they.
    unknown = shadow(2_400, open_=800)
    assert unknown.answer == "inconclusive"
    assert "on 800 of which it is unknown" in unknown.sentence
    assert shadow(8, n=10).answer == "inconclusive"


@pytest.mark.parametrize("metric", list(Metric.__args__))
@pytest.mark.parametrize("percentage", [0.0, 0.5])
def test_what_is_not_known_is_inconclusive_and_has_no_value(
    metric: Metric, percentage: float
) -> None:
    comparison = metric in {"success", "accuracy"}
    limits = {"margin": 0.02} if comparison else {"at_most": 0.5}
    gate = Gate(name="g", metric=metric, **({} if metric == "sample_ratio" else limits))
    verdict = asked(gate, percentage=percentage)
    assert (verdict.answer, verdict.value) == ("inconclusive", None)
    assert "unknown" in verdict.sentence


def test_an_effect_needs_both_arms() -> None:
    only = EffectMonitor().update([True, True], [1.0, 0.0], 0.5)
    assert asked(Gate(name="g", metric="success", margin=0.1), success=only).value is None


def test_calibration_is_measured_by_bins_and_judged_by_what_is_sure() -> None:
    def heard(right: int, n: int, unknown: int = 0) -> Arm:
        bins = [Bin()] * 10
        bins[7] = Bin(n=n, confidence=0.75 * n, right=right, unknown=unknown)
        return arm(outcomes=n, calibration=tuple(bins))

    value, low, high = calibration_error(heard(600, 1_000), ALPHA)
    assert value == pytest.approx(0.15)
    assert 0.05 < low < value < high < 0.25
    assert calibration_error(heard(600, 1_000, unknown=100), ALPHA)[0] == pytest.approx(0.05)
    assert calibration_error(heard(700, 1_000, unknown=200), ALPHA)[0] == 0.0

    gate = Gate(name="g", metric="calibration", at_most=0.1)
    assert asked(gate, treatment=heard(74, 100)).answer == "pass"
    assert asked(gate, treatment=heard(6, 10)).answer == "inconclusive"
    assert asked(gate, treatment=heard(400, 1_000)).answer == "fail"


def test_latency_is_that_of_the_arm_at_stake() -> None:
    gate = Gate(name="g", metric="latency_p99", at_most=100.0)
    slow = arm(decisions=500, latency=Counter({bin_of(400.0): 500}))
    fast = arm(decisions=500, latency=Counter({bin_of(4.0): 500}))
    assert asked(gate, percentage=0.0, control=slow, treatment=fast).answer == "fail"
    verdict = asked(gate, percentage=0.1, control=slow, treatment=fast)
    assert verdict.answer == "pass"
    assert verdict.value == pytest.approx(4.0, rel=0.011)
