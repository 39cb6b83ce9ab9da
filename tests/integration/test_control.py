from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cortex_program import cortex, succeed

from contracts.errors import FatalError, PoisonError, TransientError
from contracts.messages import RolloutConfig
from streams.connect import connect
from streams.control import read_config, read_log, set_config
from streams.keys import Keys

if TYPE_CHECKING:
    from redis import Redis

KEYS = Keys()
FRESH = RolloutConfig(percentage=0.25, enable_rag=False)


def change(client: Redis, percentage: str, expected: int | None = None) -> RolloutConfig:
    return set_config(
        client,
        KEYS,
        expected_version=expected,
        changes={"percentage": percentage},
        who="ann",
        why="trial",
        defaults=FRESH,
    )


def test_nothing_set_means_the_defaults(redis_client: Redis) -> None:
    assert read_config(redis_client, KEYS, FRESH) == FRESH


def test_a_change_sets_nothing_but_itself(redis_client: Redis) -> None:
    changed = change(redis_client, "0.5", expected=0)
    assert changed == RolloutConfig(version=1, percentage=0.5, enable_rag=False)
    # What was never set is each reader's own environment, not that of whoever made the change.
    assert read_config(redis_client, KEYS, FRESH) == changed
    assert read_config(redis_client, KEYS, RolloutConfig()).enable_rag
    assert change(redis_client, "0", expected=1).version == 2
    newest, oldest = read_log(redis_client, KEYS)
    assert (oldest.who, oldest.why, oldest.version) == ("ann", "trial", 1)
    assert (newest.before, newest.after) == ({"percentage": "0.5"}, {"percentage": "0"})


def test_a_change_based_on_an_old_version_is_refused(redis_client: Redis) -> None:
    change(redis_client, "0.5")
    with pytest.raises(TransientError, match="version 1, not 0"):
        change(redis_client, "0.9", expected=0)
    assert read_config(redis_client, KEYS, FRESH).percentage == 0.5
    assert redis_client.xlen(KEYS.control_log) == 1


def test_of_many_changes_at_once_one_wins_each_version(redis_client: Redis, redis_url: str) -> None:
    def attempt(number: int) -> int:
        with connect(redis_url) as client:
            try:
                return change(client, f"0.{number}", expected=0).version
            except TransientError:
                return 0

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == [0] * 7 + [1]
    assert redis_client.xlen(KEYS.control_log) == 1


@pytest.mark.parametrize(
    "changes", [{"percentage": "1.5"}, {"percentage": "x"}, {"version": "7"}, {"colour": "red"}]
)
def test_a_malformed_change_changes_nothing(redis_client: Redis, changes: dict[str, str]) -> None:
    with pytest.raises(FatalError):
        set_config(redis_client, KEYS, expected_version=None, changes=changes, who="a", why="")
    assert not redis_client.exists(KEYS.rollout, KEYS.control_log)


def test_a_malformed_hash_is_poison(redis_client: Redis) -> None:
    redis_client.hset(KEYS.rollout, mapping={"version": "1", "percentage": "lots"})
    with pytest.raises(PoisonError):
        read_config(redis_client, KEYS, FRESH)


def test_the_commands(redis_client: Redis, redis_url: str) -> None:
    redis_client.ping()
    done = cortex(redis_url, "rollout", "show", "--json", AB_TEST_PERCENTAGE="0.3")
    assert json.loads(done.stdout)["config"]["percentage"] == 0.3
    succeed(redis_url, "rollout", "set", "10%", "--why", "first step", "--who", "ann")
    changed = json.loads(succeed(redis_url, "rollout", "set", "0.2", "--json"))
    assert (changed["version"], changed["percentage"]) == (2, 0.2)
    log = json.loads(succeed(redis_url, "rollout", "show", "--json"))["log"]
    assert [(each["version"], each["after"]) for each in log] == [
        (2, {"percentage": "0.2"}),
        (1, {"percentage": "0.1"}),
    ]
    assert "first step" in succeed(redis_url, "rollout", "show")
    wrong = cortex(redis_url, "rollout", "set", "110%")
    assert wrong.returncode == 2
    assert "neither a fraction" in wrong.stderr


def test_exploration_is_set_beside_the_percentage(redis_client: Redis, redis_url: str) -> None:
    explored = succeed(redis_url, "rollout", "set", "1", "--exploration", "5%", "--json")
    assert json.loads(explored)["exploration"] == 0.05
    assert json.loads(succeed(redis_url, "rollout", "set", "0.5", "--json"))["exploration"] == 0.05
    assert read_config(redis_client, KEYS, FRESH).exploration == 0.05
    too_much = cortex(redis_url, "rollout", "set", "1", "--exploration", "0.2")
    assert too_much.returncode == 2
    assert "more than may explore" in too_much.stderr
    assert read_config(redis_client, KEYS, FRESH).percentage == 0.5
