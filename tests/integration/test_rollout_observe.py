"""A rollout is observed from the real streams and the real log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from contracts.encode import encode_decision, outcome_fields
from contracts.messages import Decision, Outcome, RolloutConfig
from rollout import commands
from rollout.observe import Observer
from rollout.stages import read_plan
from rollout.timeline import read_timeline, treated_share
from streams.control import set_config
from streams.keys import Keys
from streams.partitions import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

KEYS = Keys("acme:")
FRESH = RolloutConfig(percentage=0.05)
PLAN = read_plan("""
interval_s = 1
alpha = 0.05
stage = [
  { name = "shadow", percentage = 0.0, patience_s = 60 },
  { name = "canary", percentage = 0.1, patience_s = 60 },
  { name = "half", percentage = 0.5, patience_s = 60 },
]
""")


def enter(client: Redis, stage: str, model: str | None = None) -> RolloutConfig:
    return commands.enter_stage(client, KEYS, PLAN, stage, who="ann", why="test", model=model)


def decision(task_id: str, version: int, **fields: object) -> Decision:
    usual = Decision(
        task_id=task_id,
        timestamp="2026-11-22T12:00:00Z",
        description="Fix it",
        metadata=None,
        selected_master="development-master",
        method="rule-based",
        confidence=0.8,
        ab_test_group="control",
        bucket=17,
        experiment="router",
        scores={"development-master": 1.0},
        propensity=1.0,
        rules_version="r1",
        model_version="v1",
        index_generation=None,
        context=[],
        context_status="ok",
        latency_ms=3.0,
        attempt=1,
        config_version=version,
    )
    return msgspec.structs.replace(usual, **fields)


def write(client: Redis, decisions: Sequence[Decision], keys: Keys = KEYS) -> None:
    with client.pipeline(transaction=False) as pipe:
        for each in decisions:
            pipe.xadd(keys.decisions, {"task_id": each.task_id, "decision": encode_decision(each)})
        pipe.execute()


def report(client: Redis, *task_ids: str) -> None:
    with client.pipeline(transaction=False) as pipe:
        for task_id in task_ids:
            done = Outcome(task_id=task_id, master="development-master", outcome="success")
            pipe.xadd(KEYS.outcomes, dict(outcome_fields(done).items()))
        pipe.execute()


def test_a_rollout_begins_where_the_model_left_shadow(redis_client: Redis) -> None:
    assert read_timeline(redis_client, KEYS, FRESH).config == FRESH
    enter(redis_client, "shadow")
    canary = enter(redis_client, "canary")
    commands.pause(redis_client, KEYS, who="ann", why="lunch")
    commands.resume(redis_client, KEYS, who="ann", why="back")
    half = enter(redis_client, "half")
    raised = set_config(
        redis_client,
        KEYS,
        expected_version=None,
        changes={"exploration": "0.01"},
        who="ann",
        why="explore",
    )
    timeline = read_timeline(redis_client, KEYS, FRESH)
    assert timeline.config == raised
    assert (timeline.begun, timeline.staged) == (canary.version, half.version)
    assert sorted(timeline.configs) == list(range(canary.version, raised.version + 1))
    assert timeline.configs[canary.version] == canary
    assert timeline.configs[canary.version + 1].paused == "lunch"
    assert timeline.configs[canary.version + 2].paused is None
    assert timeline.begun_ms <= timeline.staged_ms <= timeline.changed_ms


@pytest.mark.parametrize(
    "change", [{"model": "v2"}, {"experiment": "other"}, {"attribute": "metadata.repo"}]
)
def test_another_model_or_assignment_is_another_rollout(
    redis_client: Redis, change: dict[str, str]
) -> None:
    enter(redis_client, "canary")
    now = set_config(
        redis_client, KEYS, expected_version=None, changes=change, who="ann", why="test"
    )
    assert read_timeline(redis_client, KEYS, FRESH).begun == now.version


def test_a_rollback_ends_a_rollout_and_the_next_one_begins_anew(redis_client: Redis) -> None:
    enter(redis_client, "canary")
    back = commands.rollback(redis_client, KEYS, PLAN, who="ann", why="bad")
    assert read_timeline(redis_client, KEYS, FRESH).begun == back.version
    again = enter(redis_client, "canary")
    assert read_timeline(redis_client, KEYS, FRESH).begun == again.version


def test_a_change_that_is_missing_in_the_log_is_where_it_begins(redis_client: Redis) -> None:
    enter(redis_client, "canary")
    half = enter(redis_client, "half")
    last, *_ = redis_client.xrevrange(KEYS.control_log, count=1)
    redis_client.xdel(KEYS.control_log, last[0])
    timeline = read_timeline(redis_client, KEYS, FRESH)
    assert (timeline.begun, timeline.config) == (half.version, half)


@pytest.mark.parametrize(
    ("percentage", "share"), [(0.07, 0.07), (0.29, 0.29), (0.00001, 0.0001), (0.0, 0.0), (1.0, 1.0)]
)
def test_the_share_of_treatment_is_one_of_whole_buckets(percentage: float, share: float) -> None:
    assert treated_share(RolloutConfig(percentage=percentage)) == share


def test_only_what_the_hash_assigned_in_this_rollout_counts(redis_client: Redis) -> None:
    before = enter(redis_client, "shadow").version
    now = enter(redis_client, "canary").version
    write(
        redis_client,
        [
            decision("counts", now),
            decision("too old", before),
            decision("forced", now, assignment="forced"),
            decision("excluded", now, assignment="excluded"),
            decision("elsewhere", now, experiment="other"),
            decision("from the future", now + 5),
        ],
    )
    redis_client.xadd(KEYS.decisions, {"decision": "no JSON"})
    redis_client.xadd(KEYS.decisions, {"something": "else"})
    redis_client.xadd(KEYS.outcomes, {"task_id": "counts", "outcome": "sold"})
    report(redis_client, "counts", "too old", "forced", "counts", "never decided")
    seen = Observer(redis_client, (KEYS,), FRESH, window_s=30).look()
    assert (seen.control.levels.decisions, seen.control.outcomes) == (1, 1)
    assert seen.success.n == seen.ratio.odds.n == 1


def test_outcomes_find_their_decisions_whenever_either_comes(redis_client: Redis) -> None:
    version = enter(redis_client, "half").version
    observer = Observer(redis_client, (KEYS,), FRESH, window_s=30)
    report(redis_client, "early")
    assert observer.look().success.n == 0
    write(redis_client, [decision("early", version), decision("late", version)])
    assert observer.look().success.n == 1
    report(redis_client, "late", "early", "late")
    assert observer.look().success.n == 2
    assert observer.look().control.levels.decisions == 2


def test_a_new_leader_comes_to_the_same_counts(redis_client: Redis) -> None:
    parts = layout("acme:", 3)
    canary = enter(redis_client, "canary").version
    first = Observer(redis_client, parts, FRESH, window_s=30)
    for turn in range(5):
        ids = [f"{turn}-{n}" for n in range(700)]
        for n, keys in enumerate(parts):
            treated = [
                decision(
                    i, canary, ab_test_group="treatment" if int(i[2:]) % 10 == 0 else "control"
                )
                for i in ids[n::3]
            ]
            write(redis_client, treated, keys)
        report(redis_client, *ids[::2])
        first.look()
    one, other = first.look(), Observer(redis_client, parts, FRESH, window_s=30).look()
    assert one.success.n == 5 * 350
    assert one.success.sums[:4] == other.success.sums[:4]
    # Running predictions depend a little on the order in which outcomes were heard.
    assert one.success.effect == pytest.approx(other.success.effect, abs=0.001)
    same = msgspec.structs.replace(
        one, at_ms=0, success=other.success, accuracy=other.accuracy, ratio=other.ratio
    )
    assert same == msgspec.structs.replace(other, at_ms=0)
    assert one.ratio.p_value == pytest.approx(other.ratio.p_value, abs=0.2)


def test_a_decision_by_a_newer_version_is_followed_at_once(redis_client: Redis) -> None:
    enter(redis_client, "shadow")
    observer = Observer(redis_client, (KEYS,), FRESH, window_s=30)
    observer.look()
    canary = enter(redis_client, "canary").version
    write(redis_client, [decision("new", canary)])
    assert observer.look().control.levels.decisions == 1
    assert observer.timeline.begun == canary
    half = enter(redis_client, "half").version
    write(redis_client, [decision("newer", half)])
    seen = observer.look()
    assert seen.control.levels.decisions == 1  # of this stage
    assert seen.ratio.odds.n == 2  # of the rollout


def test_it_keeps_up_with_thousands_of_decisions_a_second(redis_client: Redis) -> None:
    version = enter(redis_client, "half").version
    count = 20_000
    for begun in range(0, count, 1_000):
        ids = [f"t{n}" for n in range(begun, begun + 1_000)]
        write(redis_client, [decision(each, version) for each in ids])
        report(redis_client, *ids)
    observer = Observer(redis_client, (KEYS,), FRESH, window_s=30)
    used = time.process_time()
    assert observer.look().success.n == count
    assert count / (time.process_time() - used) > 5_000  # decisions with outcomes, per CPU second
