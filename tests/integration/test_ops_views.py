from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cortex_program import cortex, succeed
from decisions import decision, publish

from streams.consumer import Consumer
from streams.keys import Keys

if TYPE_CHECKING:
    from redis import Redis

KEYS = Keys()


def test_queues(redis_client: Redis, redis_url: str) -> None:
    assert json.loads(succeed(redis_url, "queues", "--json")) == []
    stream = KEYS.master("security-master")
    publish(redis_client, stream, [decision(f"t-{number}") for number in range(5)])
    consumer = Consumer(redis_client, (stream,), "security-master", "c")
    consumer.join()
    consumer.read(2, 1)
    publish(redis_client, KEYS.decisions, [decision("t-1")])

    master, decisions = json.loads(succeed(redis_url, "queues", "--json"))

    age = master.pop("oldest_pending_s")
    assert 0 <= age < 60
    assert master == {
        "partition": None,
        "stream": stream,
        "group": "security-master",
        "length": 5,
        "pending": 2,
        "lag": 3,
        "consumers": 1,
    }
    assert (decisions["stream"], decisions["length"], decisions["group"]) == ("decisions", 1, None)
    assert stream in succeed(redis_url, "queues")


def test_a_prefix_separates_deployments(redis_client: Redis, redis_url: str) -> None:
    redis_client.xadd("tasks", {"a": "b"})
    cortex(redis_url, "submit", "x", CORTEX_PREFIX="acme:")
    rows = json.loads(cortex(redis_url, "queues", "--json", CORTEX_PREFIX="acme:").stdout)
    assert [row["stream"] for row in rows] == ["acme:tasks"]


def test_monitor_counts_a_window(redis_client: Redis, redis_url: str) -> None:
    old = {"decision": "{}", "task_id": "old"}
    redis_client.xadd(KEYS.decisions, old, id="1-1")
    publish(redis_client, KEYS.decisions, [decision(f"t-{number}") for number in range(30)])
    redis_client.xadd(KEYS.decisions, {"not": "ours"})
    publish(
        redis_client,
        KEYS.decisions,
        [decision("n", method="neural", ab_test_group="treatment", context_status="ok")],
    )
    redis_client.xadd(KEYS.dead, {"a": "b"})

    seen = json.loads(succeed(redis_url, "monitor", "--json", "--window", "30m"))

    assert (seen["total_routes"], seen["ml_routes"], seen["rule_based_routes"]) == (31, 1, 30)
    assert seen["window_s"] == 1_800
    assert seen["per_arm"]["treatment"]["routes"] == 1
    assert seen["dead"] == 1
    assert seen["complete"]
    limited = json.loads(succeed(redis_url, "monitor", "--json", "--limit", "10"))
    assert not limited["complete"]
    assert "dead letters" in succeed(redis_url, "monitor")
    assert cortex(redis_url, "monitor", "--window", "soon").returncode == 2


def test_route_needs_no_server() -> None:
    nowhere = "redis://127.0.0.1:1"
    one = cortex(nowhere, "route", "Fix the authentication bug", "--json")
    assert json.loads(one.stdout)["ab_test_group"] == "control"
    lines = '{"task_id": "a", "description": "x"}\n{"task_id": "b", "description": "y"}\n'
    many = cortex(
        nowhere, "route", "--file", "-", "--group", "treatment", "--json", stdin=lines
    ).stdout.splitlines()
    assert [json.loads(line)["task_id"] for line in many] == ["a", "b"]
    assert {json.loads(line)["ab_test_group"] for line in many} == {"treatment"}
