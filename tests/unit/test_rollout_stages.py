from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from contracts.errors import FatalError
from rollout.settings import Settings
from rollout.stages import COMPARISONS, read_plan

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
interval_s = 10
alpha = 0.05
"""
SHADOW = """
[[stage]]
name = "shadow"
percentage = 0.0
patience_s = 60
gates = ["slow"]
"""
FULL = """
[[stage]]
name = "full"
percentage = 1
min_time_s = 60
min_samples = 100
patience_s = 60
gates = ["slow", "worse"]
"""
GATES = """
[gates.slow]
metric = "latency_p99"
at_most = 100
failure_limit = 2

[gates.worse]
metric = "success"
margin = 0.05
"""
WHOLE = HEAD + SHADOW + FULL + GATES


def test_the_packaged_plan_has_the_stages_of_the_original() -> None:
    plan = Settings().plan
    assert [stage.percentage for stage in plan.stages] == [0, 0.1, 0.25, 0.5, 0.75, 1]
    assert plan.names[:2] == ("shadow", "canary")
    shares = {stage.name: stage.percentage for stage in plan.stages}
    for stage in plan.stages:
        compared = [gate for gate in stage.gates if gate.metric in COMPARISONS and not gate.dry_run]
        # Where nobody is in control, or gates could not compare, nothing would ever advance.
        assert bool(compared) == (shares[stage.name] < 1)
    # What the next stage begins with may never be worse than what this one did.
    margins = [
        gate.margin for stage in plan.stages for gate in stage.gates if gate.metric == "success"
    ]
    assert margins == sorted(margins, reverse=True)


def test_a_plan_is_what_its_file_says() -> None:
    plan = read_plan(WHOLE)
    assert (plan.interval_s, plan.alpha, plan.names) == (10, 0.05, ("shadow", "full"))
    full = plan.stage("full")
    assert (full.min_time_s, full.min_samples, full.patience_s) == (60, 100, 60)
    slow, worse = full.gates
    assert (slow.name, slow.metric, slow.at_most, slow.failure_limit) == (
        "slow",
        "latency_p99",
        100,
        2,
    )
    assert (worse.margin, worse.harm, worse.on_failure, worse.dry_run) == (
        0.05,
        0,
        "rollback",
        False,
    )
    assert plan.stages[0].gates == (slow,)


def test_from_each_stage_to_the_next() -> None:
    plan = Settings().plan
    name, seen = plan.first.name, [plan.first.name]
    while following := plan.next(name):
        seen.append(name := following.name)
    assert tuple(seen) == plan.names
    for ask in (plan.stage, plan.next):
        with pytest.raises(FatalError, match="no stage 'tomorrow'; there are shadow, canary"):
            ask("tomorrow")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[stage", "plan: "),
        (HEAD + SHADOW + GATES, "length >= 2"),
        (WHOLE.replace("alpha = 0.05", "alpha = 1"), "alpha"),
        (WHOLE.replace("alpha = 0.05", "alpha = 0.05\ncolour = 1"), "colour"),
        (WHOLE.replace("percentage = 0.0", "percentage = 0.1"), "rise from 0"),
        (WHOLE.replace("percentage = 1\n", "percentage = 0\n"), "rise from 0"),
        (WHOLE.replace("percentage = 1\n", "percentage = 2\n"), "percentage"),
        (WHOLE.replace('"full"', '"shadow"'), "one name"),
        (WHOLE.replace('"worse"]', '"worst"]'), "'full': there is no gate 'worst'"),
        (WHOLE.replace('"worse"]', '"slow"]'), "several gates measure latency_p99"),
        (WHOLE.replace("margin = 0.05", ""), "limits of success are margin"),
        (WHOLE.replace("margin = 0.05", "at_most = 1"), "limits of success are margin"),
        (WHOLE.replace("at_most = 100", ""), "latency_p99 are at_most or at_least"),
        (WHOLE.replace("at_most = 100", "margin = 1"), "latency_p99 are at_most or at_least"),
        (WHOLE.replace('"success"', '"sample_ratio"'), "alpha is its limit"),
        (WHOLE.replace('"success"', '"happiness"'), "happiness"),
        (WHOLE.replace("failure_limit = 2", "failure_limit = -1"), "failure_limit"),
    ],
)
def test_a_plan_that_makes_no_sense(text: str, reason: str) -> None:
    assert text != WHOLE
    with pytest.raises(FatalError, match=reason):
        read_plan(text)


def test_the_operators_own_plan(tmp_path: Path) -> None:
    packaged = files("rollout").joinpath("rollout.toml").read_text()
    own = tmp_path / "own.toml"
    own.write_text(packaged.replace('"canary"', '"bird"'))
    assert Settings(plan_file=str(own)).plan.names[1] == "bird"
    own.write_text("alpha")
    with pytest.raises(FatalError, match=r"own\.toml: plan"):
        _ = Settings(plan_file=str(own)).plan
    with pytest.raises(FatalError, match=r"cannot read .*none\.toml"):
        _ = Settings(plan_file=str(own.with_name("none.toml"))).plan
