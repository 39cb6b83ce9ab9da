"""The steps of a rollout, as operators and the controller take them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cortex_program import cortex, succeed

from chaos.live_rollout import configurations
from contracts.errors import FatalError, TransientError
from contracts.messages import RolloutConfig
from registry.registry import Registry
from rollout import commands
from rollout.settings import Settings
from streams.control import read_config, read_log, server_time, set_config
from streams.keys import Keys
from tests.router_models import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

KEYS = Keys()
PLAN = Settings().plan
FRESH = RolloutConfig()


def enter(client: Redis, name: str, **more: object) -> RolloutConfig:
    return commands.enter_stage(client, KEYS, PLAN, name, who="ann", why="trial", **more)  # type: ignore[arg-type] # as a caller has them


def promote(client: Redis) -> RolloutConfig:
    return commands.promote(client, KEYS, PLAN, who="ann", why="good")


def test_from_shadow_to_full_and_no_further(redis_client: Redis) -> None:
    begun = server_time(redis_client)
    config = enter(redis_client, "shadow", model="v1")
    shares, moments = [config.percentage], [begun, config.stage_since]
    for _ in PLAN.stages[1:]:
        config = promote(redis_client)
        shares.append(config.percentage)
        moments.append(config.stage_since)
    assert shares == [stage.percentage for stage in PLAN.stages]
    assert moments == sorted(moments)  # one clock
    assert (config.stage, config.model) == ("full", "v1")
    with pytest.raises(FatalError, match="full is the last stage"):
        promote(redis_client)
    assert read_config(redis_client, KEYS, FRESH) == config
    assert [change.after["stage"] for change in read_log(redis_client, KEYS)] == [
        *reversed(PLAN.names)
    ]


def test_nothing_to_promote_from(redis_client: Redis) -> None:
    with pytest.raises(FatalError, match="in no stage"):
        promote(redis_client)
    enter(redis_client, "canary")
    set_config(redis_client, KEYS, expected_version=None, changes={"stage": "x"}, who="a", why="")
    with pytest.raises(FatalError, match="no stage 'x'"):
        promote(redis_client)


def test_a_pause_leaves_the_share_and_a_stage_ends_it(redis_client: Redis) -> None:
    begun = enter(redis_client, "half")
    paused = commands.pause(redis_client, KEYS, who="ann", why="odd figures")
    assert (paused.paused, paused.percentage, paused.stage) == ("odd figures", 0.5, "half")
    resumed = commands.resume(redis_client, KEYS, who="ann", why="they were right")
    assert resumed.paused is None
    assert resumed.stage_since == begun.stage_since
    commands.pause(redis_client, KEYS, who="ann", why="odd figures")
    assert promote(redis_client).paused is None
    for step in (commands.pause, lambda *args, **more: commands.rollback(*args, PLAN, **more)):
        with pytest.raises(FatalError, match="needs a reason"):
            step(redis_client, KEYS, who="ann", why=" ")


def test_a_rollback_takes_everything_from_the_model(redis_client: Redis) -> None:
    enter(redis_client, "half", model="v1")
    arms = '[{"name":"a","buckets":[0,9000],"model":null}]'
    set_config(
        redis_client,
        KEYS,
        expected_version=None,
        changes={"arms": arms, "force": "true", "coverage": "0.9"},
        who="ann",
        why="",
    )
    back = commands.rollback(redis_client, KEYS, PLAN, who="ann", why="worse")
    assert (back.percentage, back.arms, back.force) == (0, None, False)
    assert (back.stage, back.paused) == ("shadow", "rolled back: worse")
    assert (back.model, back.coverage) == ("v1", 0.9)  # heard in shadow as before
    assert next(read_log(redis_client, KEYS)).why == "worse"
    assert configurations(redis_client, KEYS, FRESH)[back.version] == back  # the log knows it all


def test_whoever_is_late_changes_nothing(redis_client: Redis) -> None:
    seen = enter(redis_client, "canary")
    now = enter(redis_client, "quarter")
    late = {"who": "controller", "why": "late", "based_on": seen}
    for step in (
        lambda: commands.enter_stage(redis_client, KEYS, PLAN, "half", **late),
        lambda: commands.promote(redis_client, KEYS, PLAN, **late),
        lambda: commands.pause(redis_client, KEYS, **late),
        lambda: commands.resume(redis_client, KEYS, **late),
        lambda: commands.rollback(redis_client, KEYS, PLAN, **late),
    ):
        with pytest.raises(TransientError, match=f"version {now.version}, not {seen.version}"):
            step()
    assert read_config(redis_client, KEYS, FRESH) == now
    late["based_on"] = now
    assert commands.promote(redis_client, KEYS, PLAN, **late).stage == "half"


def test_a_rollback_mends_what_workers_cannot_read(redis_client: Redis) -> None:
    enter(redis_client, "half", model="v1")
    # Workers keep the last configuration they could read: a model in half of the tasks.
    redis_client.hset(KEYS.rollout, mapping={"coverage": "most", "arms": "{", "colour": "red"})
    back = commands.rollback(redis_client, KEYS, PLAN, who="ann", why="worse")
    assert read_config(redis_client, KEYS, FRESH) == back
    assert (back.percentage, back.coverage, back.model) == (0, 1, "v1")


def test_the_stages_at_a_shell(redis_client: Redis, redis_url: str) -> None:
    redis_client.ping()

    def told(*args: str) -> dict[str, object]:
        answer: dict[str, object] = json.loads(succeed(redis_url, "rollout", *args, "--json"))
        return answer

    assert told("stage", "canary", "--why", "week 1", "--who", "ann")["percentage"] == 0.1
    shown = told("show")
    following = shown["next"]
    assert isinstance(following, dict)
    assert isinstance(shown["config"], dict)
    assert (following["stage"], following["percentage"]) == ("quarter", 0.25)
    wait = datetime.fromisoformat(following["not_before"]) - datetime.fromisoformat(
        shown["config"]["stage_since"]
    )
    assert abs(wait.total_seconds() - PLAN.stage("canary").min_time_s) < 1
    assert told("promote")["stage"] == "quarter"
    assert told("pause", "--why", "odd")["paused"] == "odd"
    assert told("resume")["paused"] is None
    # By hand it is nobody's stage any more.
    by_hand = told("set", "0.3")
    assert (by_hand["percentage"], by_hand["stage"], by_hand["stage_since"]) == (0.3, None, None)
    assert told("show")["next"] is None
    assert told("rollback", "--why", "worse")["paused"] == "rolled back: worse"
    lines = succeed(redis_url, "rollout", "history", "--json", "-n", "2").splitlines()
    assert [json.loads(line)["version"] for line in lines] == [6, 5]
    assert succeed(redis_url, "rollout", "history").count("\n") == 1 + 6
    assert "week 1" in succeed(redis_url, "rollout", "history")
    for args in (["stage", "week-1"], ["promote", "--who", ""]):
        succeed(redis_url, "rollout", "stage", "full")
        done = cortex(redis_url, "rollout", *args)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_a_broken_plan_does_not_stand_in_the_way_of_a_rollback(
    redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    redis_client.ping()
    succeed(redis_url, "rollout", "stage", "half")
    (tmp_path / "plan.toml").write_text("stages = 6")
    broken = {"CORTEX_ROLLOUT": str(tmp_path / "plan.toml")}
    assert cortex(redis_url, "rollout", "promote", **broken).returncode == 1
    assert cortex(redis_url, "rollout", "rollback", **broken).returncode == 0
    assert read_config(redis_client, KEYS, FRESH).percentage == 0


def test_a_stage_for_a_model(redis_client: Redis, redis_url: str, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    write_model(tmp_path / "staged", "security-master")
    version = registry.add(tmp_path / "staged")
    registry.promote(version, who="test")
    models = {"MODEL_PATH": str(registry.root)}
    done = cortex(redis_url, "rollout", "stage", "canary", "--model", "champion", **models)
    assert done.returncode == 0
    assert read_config(redis_client, KEYS, FRESH).model == version
    assert cortex(redis_url, "rollout", "stage", "canary", "--model", "v9", **models).returncode
    assert read_config(redis_client, KEYS, FRESH).version == 1
    cortex(redis_url, "rollout", "stage", "canary", "--model", "", **models)
    assert read_config(redis_client, KEYS, FRESH).model is None


def test_how_tasks_are_chosen(redis_client: Redis, redis_url: str) -> None:
    succeed(
        redis_url,
        *("rollout", "set", "--arm", "a=0-500", "--arm", "b=500-1000:v1", "--force"),
        *("--coverage", "50%", "--attribute", "metadata.repo", "--experiment", "second"),
        *("--namespace", "routing=0-0.5", "--no-rag", "--no-neural"),
    )
    config = read_config(redis_client, KEYS, FRESH)
    assert config.arms is not None
    assert config.namespace is not None
    assert [(arm.name, arm.buckets, arm.model) for arm in config.arms] == [
        ("a", (0, 500), None),
        ("b", (500, 1_000), "v1"),
    ]
    assert (config.coverage, config.attribute, config.experiment) == (
        0.5,
        "metadata.repo",
        "second",
    )
    assert (config.namespace.id, config.namespace.range) == ("routing", (0, 0.5))
    assert (config.force, config.enable_rag, config.enable_neural) == (True, False, False)
    succeed(redis_url, "rollout", "set", "0.2", "--namespace", "", "--no-force", "--rag")
    config = read_config(redis_client, KEYS, FRESH)
    assert (config.arms, config.namespace, config.force, config.enable_rag) == (
        None,
        None,
        False,
        True,
    )
    for args, code, reason in (
        ([], 2, "nothing to set"),
        (["0.1", "--arm", "a=0-1"], 2, "one of P"),
        (["--arm", "a"], 2, "no arm like"),
        (["--arm", "a=0-9", "--arm", "b=5-7"], 1, "overlap"),
        (["--namespace", "a"], 2, "no part of a namespace"),
        (["--attribute", "colour"], 1, "attribute"),
        (["--config", "no-such.json"], 1, "cannot read no-such.json"),
    ):
        done = cortex(redis_url, "rollout", "set", *args)
        assert (done.returncode, reason in done.stderr) == (code, True), done.stderr
    assert read_config(redis_client, KEYS, FRESH) == config


def test_the_original_deployment_file_there_and_back(
    redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    original = {
        "version": "1.0.0",
        "deployment_date": "2025-11-25T11:50:00-0600",
        "configuration": {
            "ab_test_percentage": 0.1,
            "enable_neural": False,
            "enable_rag": True,
            "model_path": "models/routing/current",
            "vectorstore_path": "vectors/codebase",
        },
        "status": "deployed",
    }
    (tmp_path / "deployment.json").write_text(json.dumps(original))
    paths = {"MODEL_PATH": "models/routing/current", "VECTORSTORE_PATH": "elsewhere"}

    def run(*args: str, **more: str) -> str:
        done = cortex(redis_url, "rollout", *args, cwd=tmp_path, **(paths | more))
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    said = run("set", "--config", "deployment.json", "--json")
    assert "VECTORSTORE_PATH=vectors/codebase" in said
    assert "MODEL_PATH=" not in said  # workers started like this use it already
    config = read_config(redis_client, KEYS, FRESH)
    assert (config.percentage, config.enable_neural, config.enable_rag) == (0.1, False, True)
    run("status", "--output", "written.json", VECTORSTORE_PATH="vectors/codebase")
    written = json.loads((tmp_path / "written.json").read_text())
    assert written["configuration"] == original["configuration"]
    assert written.keys() == original.keys()
    assert written["status"] == "deployed"
    changed = datetime.fromisoformat(written["deployment_date"])
    now = datetime.fromisoformat(server_time(redis_client))
    assert timedelta() <= now - changed < timedelta(minutes=2)
    assert json.loads(run("status", "--json"))["configuration"]["ab_test_percentage"] == 0.1
    run("set", "--config", "written.json")
    again = read_config(redis_client, KEYS, FRESH)
    assert (again.percentage, again.enable_neural, again.model) == (0.1, False, None)
