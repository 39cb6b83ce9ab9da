from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from decisions import decision, publish

from contracts.messages import RolloutConfig
from router.assignment import bucket
from streams.connect import connect
from streams.control import read_config, set_config
from streams.keys import Keys
from tests.system import RULES_ONLY, running, spawn, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

KEYS = Keys()
SHARE = 0.25
NAMES = ["ab-split", "accuracy", "context", "latency", "errors", "metrics", "rollback"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    """A client of the server that programs started in this folder use."""
    with connect("", data_dir=tmp_path / ".cortex", role="test") as client:
        yield client


def check(folder: Path, *args: str, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    process = subprocess.run(
        [sys.executable, "-m", "ops.cli", "rollout", "check", "--json", *args],
        cwd=folder,
        env=_environment() | RULES_ONLY | env,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert process.stdout, process.stderr
    answer = json.loads(process.stdout)
    assert answer["ok"] == (process.returncode == 0)
    assert [each["name"] for each in answer["criteria"]] == NAMES
    return process.returncode, {each["name"]: each for each in answer["criteria"]}


def _environment() -> dict[str, str]:
    import os  # noqa: PLC0415 - here alone

    return {name: value for name, value in os.environ.items() if name != "REDIS_URL"}


def operate(client: redis.Redis, treated_right: float = 1.0) -> None:
    """Decisions and outcomes of a quarter in treatment."""
    set_config(
        client,
        KEYS,
        expected_version=None,
        changes={"percentage": repr(SHARE)},
        who="test",
        why="",
        defaults=RolloutConfig(),
    )
    decisions = []
    for number in range(400):
        treated = bucket("router", f"t-{number}") < SHARE * 10_000
        group = "treatment" if treated else "control"
        decisions.append(
            decision(f"t-{number}", ab_test_group=group, context_status="ok", config_version=1)
        )
        right = not treated or number % 10 < 10 * treated_right
        report = {"task_id": f"t-{number}", "master": "development-master", "outcome": "success"}
        if not right:
            report |= {"outcome": "rerouted", "correct_master": "cicd-master"}
        client.xadd(KEYS.outcomes, cast("Any", report))
    publish(client, KEYS.decisions, decisions)


def test_seven_criteria_of_a_healthy_deployment(client: redis.Redis, tmp_path: Path) -> None:
    operate(client)
    before = read_config(client, KEYS, RolloutConfig())
    with running([spawn("archiver", cwd=tmp_path, **RULES_ONLY)]):
        wait_until(lambda: bool(client.exists(KEYS.archive_heads)), 30, "the archiver writes")
        code, seen = check(tmp_path)
    assert {name: each["verdict"] for name, each in seen.items()} == dict.fromkeys(NAMES, "pass")
    assert code == 0
    assert seen["ab-split"]["target"] == SHARE
    assert seen["rollback"]["value"] < 1
    # The rehearsal has left nothing, and touched nothing.
    assert [*client.scan_iter("rehearsal:*")] == []
    assert read_config(client, KEYS, RolloutConfig()) == before
    assert client.xlen(KEYS.decisions) == 400
    assert not client.exists(KEYS.tasks)


def test_what_is_wrong_fails_and_what_is_not_there_is_not_measured(
    client: redis.Redis, tmp_path: Path
) -> None:
    code, empty = check(tmp_path, "--no-rehearse")
    assert code == 1
    assert {name: each["verdict"] for name, each in empty.items()} == {
        **dict.fromkeys(NAMES, "not measurable"),
        "metrics": "fail",
    }

    operate(client, treated_right=0.5)
    publish(
        client,
        KEYS.decisions,
        [
            decision(
                f"slow-{n}",
                context_status="empty",
                latency_ms=150.0,
                ab_test_group="treatment",
                fallback_reason="model_error",
                config_version=1,
            )
            for n in range(200)
        ],
    )
    letter = {"source": KEYS.tasks, "entry_id": "1-1", "reason": "too_many_deliveries"}
    client.xadd(KEYS.dead, cast("Any", letter))
    code, seen = check(tmp_path, "--no-rehearse")
    assert code == 1
    assert {name: each["verdict"] for name, each in seen.items()} == {
        **dict.fromkeys(NAMES, "fail"),
        "rollback": "not measurable",
    }
    assert seen["errors"]["value"] == 201


def test_a_rehearsal_that_cannot_begin_says_why(client: redis.Redis, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("no rules")
    _, seen = check(tmp_path, CORTEX_RULES="rules.toml")
    assert seen["rollback"]["verdict"] == "not measurable"
    assert "the worker ended with 1" in seen["rollback"]["sentence"]
    assert [*client.scan_iter("*rehearsal:*")] == []
