"""An experiment with several arms on a live worker: real process, real folders, real stream."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from growthbook.core import gbhash
from msgspec import UNSET

from contracts.parse import parse_decision
from registry.registry import Registry
from streams import ranges
from streams.connect import connect
from streams.control import set_config
from streams.keys import Keys
from tests.router_models import write_model
from tests.system import running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from contracts.messages import Decision, RolloutConfig

KEYS = Keys()
TASKS = 300
REPOSITORIES = 60


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    with connect(data_dir=tmp_path / ".cortex") as made:
        yield made


def change(client: redis.Redis, **changes: str) -> RolloutConfig:
    return set_config(
        client, KEYS, expected_version=None, changes=changes, who="test", why="a test"
    )


def decide(client: redis.Redis, label: str, **metadata: str) -> dict[str, Decision]:
    """Submit tasks of many repositories; returns their decisions by task id."""
    before = client.xlen(KEYS.decisions)
    for number in range(TASKS):
        said = json.dumps({"repo": f"r-{number % REPOSITORIES}", **metadata})
        submit(client, f"{label}-{number}", metadata=said)
    wait_until(lambda: client.xlen(KEYS.decisions) >= before + TASKS, 60, f"{label}: decided")
    return {each.task_id: each for each in newest(client, TASKS)}


def submit(client: redis.Redis, task_id: str, **more: str) -> None:
    task: dict[Any, Any] = {"task_id": task_id, "description": "see to it", **more}
    client.xadd(KEYS.tasks, task)


def newest(client: redis.Redis, count: int) -> list[Decision]:
    entries = islice(ranges.backward(client, KEYS.decisions), count)
    return [parse_decision(fields[b"decision"]) for _, fields in entries]


def follows(client: redis.Redis, config: RolloutConfig) -> None:
    """Wait until the worker decides by a configuration."""

    def probed() -> bool:
        label = f"probe-{client.xlen(KEYS.decisions)}"
        submit(client, label)
        wait_until(lambda: client.exists(KEYS.done(label)) == 1, 10, "the probe is decided")
        return newest(client, 1)[0].config_version == config.version

    wait_until(probed, 10, f"version {config.version} is followed")


def test_arms_attributes_coverage_and_forced_groups_on_a_live_worker(
    client: redis.Redis, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / ".cortex" / "models")
    for favourite in ("security-master", "inventory-master"):
        write_model(tmp_path / favourite, favourite)
    champion = registry.add(tmp_path / "security-master")
    second = registry.add(tmp_path / "inventory-master")
    registry.promote(champion, who="test")
    arms = [
        {"name": "champion", "buckets": [0, 4000]},
        {"name": "second", "buckets": [4000, 7000], "model": second},
        {"name": "lost", "buckets": [8000, 9000], "model": "no-such-model"},
    ]
    config = change(
        client, percentage="0.0", arms=json.dumps(arms), attribute="metadata.repo", force="true"
    )
    worker = spawn("worker", cwd=tmp_path, ENABLE_RAG="false")
    with running([worker]):
        for decision in decide(client, "arms").values():
            number = int(decision.task_id.removeprefix("arms-")) % REPOSITORIES
            place = gbhash("router", f"r-{number}", 2)
            assert place is not None
            assert decision.unit == f"r-{number}"
            assert decision.bucket == round(place * 10_000)
            assert decision.config_version == config.version
            assert decision.assignment is UNSET
            made = (decision.arm, decision.ab_test_group, decision.model_version)
            how = (decision.method, decision.fallback_reason)
            if place < 0.4:
                assert (made, how) == (("champion", "treatment", champion), ("neural", UNSET))
                assert decision.selected_master == "security-master"
            elif place < 0.7:
                assert (made, how) == (("second", "treatment", second), ("neural", UNSET))
                assert decision.selected_master == "inventory-master"
            elif 0.8 <= place < 0.9:
                assert made == ("lost", "treatment", None)
                assert how == ("rule-based", "model_unavailable")
            else:
                assert (made, how) == ((UNSET, "control", champion), ("rule-based", UNSET))

        forced = decide(client, "forced", force_group="second").values()
        assert {each.selected_master for each in forced} == {"inventory-master"}
        assert {each.assignment for each in forced} == {"forced"}

        config = change(client, percentage="0.5", arms="", coverage="0.5")
        follows(client, config)
        ids = decide(client, "covered", force_group="nonsense").values()
        assert {each.config_version for each in ids} == {config.version}
        for decision in ids:
            place = decision.bucket / 10_000
            assert decision.arm is UNSET
            assert decision.ab_test_group == ("treatment" if place < 0.25 else "control")
            counted = place < 0.25 or 0.5 <= place < 0.75
            assert decision.assignment == (UNSET if counted else "excluded")
        assert terminate(worker) == 0
    assert client.xlen(KEYS.dead) == 0
