"""The command line on a partitioned queue: on one server, behind Sentinels, on a cluster."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cortex_program import cortex
from decisions import decision, publish
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from chaos.cluster import Cluster
from chaos.sentinels import Sentinels
from chaos.servers import Server
from contracts.encode import encode_decision
from contracts.parse import parse_outcome
from streams.connect import connect
from streams.consumer import Consumer
from streams.keys import WORKERS
from streams.partitions import layout, partition_of, tags
from tests.system import running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

COUNT = 4
PARTS = layout("", COUNT)
NAME = "development-master"
IDS = [f"t-{n}" for n in range(20)]

run = partial(cortex, CORTEX_PARTITIONS=str(COUNT))


def succeed(url: str, *args: str) -> str:
    done = run(url, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=[Server, Cluster])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with request.param(tmp_path_factory.mktemp("queue")) as running:
        yield running.url


@pytest.fixture
def client(url: str) -> Iterator[Redis]:
    with connect(url, role="test") as connected:
        connected.flushall()
        yield connected


def fill(client: Redis, stream_of: Callable[[int], str]) -> None:
    for task_id in IDS:
        publish(client, stream_of(partition_of(task_id, COUNT)), [decision(task_id)])


def test_queues_shows_sums_and_partitions(client: Redis, url: str) -> None:
    for task_id in IDS:
        keys = PARTS[partition_of(task_id, COUNT)]
        client.xadd(keys.tasks, {"task_id": task_id, "description": "x"})
    for keys in PARTS:
        consumer = Consumer(client, (keys.tasks,), WORKERS, "w")
        consumer.join()
        consumer.read(2, 1)
    client.xadd("outcomes", {"a": "b"})

    whole, outcomes, *parts = json.loads(succeed(url, "queues", "--json"))

    assert 0 <= whole.pop("oldest_pending_s") < 60
    assert whole == {
        "partition": None,
        "stream": "tasks",
        "group": "workers",
        "length": 20,
        "pending": 8,
        "lag": 12,
        "consumers": 1,
    }
    assert (outcomes["partition"], outcomes["stream"]) == (None, "outcomes")
    assert [each["partition"] for each in parts] == list(tags(COUNT))
    assert [each["stream"] for each in parts] == [keys.tasks for keys in PARTS]
    assert sum(each["length"] for each in parts) == 20
    assert PARTS[0].tasks in succeed(url, "queues")


def test_monitor_counts_every_partition_the_newest_first(client: Redis, url: str) -> None:
    now_ms = client.time()[0] * 1000
    for number, task_id in enumerate(IDS):
        keys = PARTS[partition_of(task_id, COUNT)]
        arm = "treatment" if number < 8 else "control"
        made = {"decision": encode_decision(decision(task_id, ab_test_group=arm))}
        # Ids of our own: the clocks of several nodes, cached as they are, differ by milliseconds.
        client.xadd(keys.decisions, {"task_id": task_id, **made}, id=f"{now_ms - 1000 + number}-0")
        client.xadd(keys.dead, {"a": "b"})

    seen = json.loads(succeed(url, "monitor", "--json"))
    assert (seen["total_routes"], seen["dead"], seen["complete"]) == (20, 20, True)
    assert seen["per_arm"]["treatment"]["routes"] == 8

    newest = json.loads(succeed(url, "monitor", "--json", "--limit", "12"))
    assert (newest["total_routes"], newest["complete"]) == (12, False)
    assert newest["per_arm"]["treatment"]["routes"] == 0


def test_a_master_takes_from_every_partition(client: Redis, url: str) -> None:
    fill(client, lambda index: PARTS[index].master(NAME))
    succeed(url, "master", NAME, "--exec", "true", "--count", str(len(IDS)))
    reported = {parse_outcome(fields).task_id for _, fields in client.xrange("outcomes")}
    assert reported == set(IDS)
    assert sum(client.xpending(keys.master(NAME), NAME)["pending"] for keys in PARTS) == 0


def test_a_task_submitted_is_where_it_belongs(client: Redis, url: str) -> None:
    task_id = succeed(url, "submit", "Fix the login").strip()
    held = [keys.partition for keys in PARTS if client.xlen(keys.tasks)]
    assert held == [PARTS[partition_of(task_id, COUNT)].partition]


def test_the_rollout_has_no_partition(client: Redis, url: str) -> None:
    succeed(url, "rollout", "set", "0.25")
    assert json.loads(succeed(url, "rollout", "show", "--json"))["config"]["percentage"] == 0.25
    assert client.exists("control:rollout", "control:log") == 2


def relayed(url: str) -> list[str]:
    with connect(url) as client:
        fill(client, lambda index: PARTS[index].master(NAME))
        succeed(url, "relay", "rq", NAME, "--burst", "--function", "json.dumps")
        assert sum(client.xpending(keys.master(NAME), NAME)["pending"] for keys in PARTS) == 0
        queue = Queue(NAME, connection=client, serializer=JSONSerializer)
        ids: list[str] = queue.job_ids
        SimpleWorker([queue], connection=client, serializer=JSONSerializer).work(burst=True)
        assert sorted(queue.finished_job_registry.get_job_ids()) == sorted(ids)
    return ids


@pytest.mark.parametrize("kind", [Server, Sentinels])
def test_every_partition_is_relayed(kind: type[Server | Sentinels], tmp_path: Path) -> None:
    with kind(tmp_path) as running:
        assert sorted(relayed(running.url)) == sorted(IDS)


def test_a_cluster_is_refused_by_the_relay(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        done = run(cluster.url, "relay", "rq", NAME, "--burst")
    assert done.returncode != 0
    assert "RQ does not run on a cluster" in done.stderr
    assert f"cortex master {NAME}" in done.stderr


def test_an_indexer_commits_and_buries_beside_the_partitions(
    client: Redis, url: str, tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("def login(): ...\n")
    indexer = spawn("indexer", cwd=tmp_path, REDIS_URL=url, CORTEX_ROOT=str(tmp_path))
    with running([indexer]):
        wait_until(lambda: client.xlen("vectors:code") > 0, 60, "the file is indexed")
        client.xadd("files", {"op": "explode", "path": "a.py"})
        wait_until(lambda: len(letters(url)) == 1, 30, "the change is a dead letter")
        assert terminate(indexer) == 0
    (buried,) = letters(url)
    assert buried["letter"]["source"] == "files"
    assert json.loads(succeed(url, "dead", "purge", buried["id"], "--json")) == {"purged": 1}
    assert letters(url) == []


def letters(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(succeed(url, "dead", "list", "--json"))
    return found
