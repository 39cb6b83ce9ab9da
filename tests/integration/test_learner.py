"""The real learner process on a real server."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import orjson
import pytest
from msgspec import Raw

from chaos.cluster import Cluster
from contracts import reasons
from learning.dataset import Counts, Dataset
from learning.examples import Example
from learning.parts import read_manifest
from learning.settings import dataset_folder
from streams.connect import connect
from streams.housekeeping import trim_records
from streams.keys import LEARNING, Keys
from streams.master import Master
from streams.partitions import layout
from tests.integration.cortex_program import cortex
from tests.integration.decisions import decision, publish
from tests.system import running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis

    from chaos.servers import Server

KEYS = Keys()
DEV = "development-master"
QUICK = {"LEARNER_FLUSH_S": "1", "LEARNER_BATCH": "64", "LEARNER_LEASE_MS": "500"}
LOADED = 60  # seconds, while other tests run


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    """A server of the test's own, which the learner under test finds in the same folder."""
    with connect(data_dir=tmp_path / ".cortex") as made:
        yield made


def report(client: redis.Redis, task_id: str, kind: str = "success", **more: str) -> str:
    fields = {"task_id": task_id, "master": DEV, "outcome": kind, **more}
    return client.xadd(KEYS.outcomes, {**fields}).decode()


def acknowledged(client: redis.Redis, *streams: str) -> bool:
    for stream in streams:
        groups = client.xinfo_groups(stream) if client.exists(stream) else []
        ours = [group for group in groups if group["name"] == LEARNING.encode()]
        if not ours or ours[0]["pending"] or ours[0]["lag"]:
            return False
    return True


def done(client: redis.Redis) -> bool:
    return acknowledged(client, KEYS.decisions, KEYS.outcomes)


def dataset_of(folder: Path) -> Dataset:
    return Dataset(dataset_folder(folder / ".cortex"))


def test_what_masters_report_becomes_examples(client: redis.Redis, tmp_path: Path) -> None:
    described = {"t-1": "Fix it", "t-2": "Secure it", "t-3": "Nobody does it"}
    for task_id, text in described.items():
        told = decision(task_id, description=text, metadata=Raw(b'{"repo":"web"}'))
        publish(client, KEYS.decisions, [told])
        publish(client, KEYS.master(DEV), [told])
    learner = spawn("learner", cwd=tmp_path, **QUICK)
    with running([learner]):
        master = Master(client, DEV)
        taken = {each.task_id: each for each in master.decisions(wait=False)}
        master.report(taken["t-1"], "success", score=0.5, files=["a.py"])
        master.report(taken["t-2"], "rerouted", correct_master="security-master")
        wait_until(lambda: client.xlen(KEYS.outcomes) == 2 and done(client), LOADED, "all kept")
        assert terminate(learner) == 0
    dataset = dataset_of(tmp_path)
    assert dataset.counts() == Counts(3, 2, 2)
    assert dataset.examples() == [
        Example("Fix it", DEV, 0.5, "web"),
        Example("Secure it", "security-master", source="web"),
    ]


def test_malformed_entries_are_dead_letters_with_a_reason(
    client: redis.Redis, tmp_path: Path
) -> None:
    outcomes, decisions = KEYS.outcomes, KEYS.decisions
    bad = {
        (outcomes, report(client, "t-1", "splendid")): reasons.INVALID_VALUE,
        (outcomes, report(client, "t-1", score="2")): reasons.NUMBER_OUT_OF_RANGE,
        (outcomes, report(client, "no id")): reasons.INVALID_TASK_ID,
        (outcomes, client.xadd(outcomes, {"task_id": "t-1"}).decode()): reasons.MISSING_FIELD,
        (decisions, client.xadd(decisions, {"decision": "{"}).decode()): reasons.INVALID_JSON,
    }
    report(client, "t-1")
    publish(client, KEYS.decisions, [decision("t-1")])
    learner = spawn("learner", cwd=tmp_path, **QUICK)
    with running([learner]):
        wait_until(lambda: done(client), LOADED, "everything acknowledged")
        assert terminate(learner) == 0
    letters = [fields for _, fields in client.xrange(KEYS.dead)]
    got = {
        (each[b"source"].decode(), each[b"entry_id"].decode()): each[b"reason"].decode()
        for each in letters
    }
    assert got == bad
    assert dataset_of(tmp_path).counts() == Counts(1, 1, 1)


def test_term_writes_what_is_held(client: redis.Redis, tmp_path: Path) -> None:
    learner = spawn("learner", cwd=tmp_path, LEARNER_FLUSH_S="600")
    with running([learner]):
        publish(client, KEYS.decisions, [decision("t-1")])

        def held() -> bool:
            groups = client.xinfo_groups(KEYS.decisions)
            return bool(groups) and groups[0]["pending"] == 1

        wait_until(held, LOADED, "it was read")
        assert dataset_of(tmp_path).version == 0
        assert terminate(learner) == 0
    assert dataset_of(tmp_path).counts().decisions == 1
    group = client.xinfo_groups(KEYS.decisions)[0]
    assert (group["pending"], group["consumers"]) == (0, 0)


def test_nothing_is_trimmed_before_the_learner_has_it(client: redis.Redis, tmp_path: Path) -> None:
    learner = spawn("learner", cwd=tmp_path, **QUICK)
    with running([learner]):
        publish(client, KEYS.decisions, [decision("t-0")])
        wait_until(lambda: acknowledged(client, KEYS.decisions), LOADED, "it reads")
        terminate(learner)
        publish(client, KEYS.decisions, [decision(f"t-{n}") for n in range(1, 1_001)])
        trim_records(client, KEYS.decisions, seconds=0, longest=1)
        again = spawn("learner", cwd=tmp_path, **QUICK)
        with running([again]):
            wait_until(lambda: acknowledged(client, KEYS.decisions), LOADED, "the rest")
            assert terminate(again) == 0
    assert dataset_of(tmp_path).counts().decisions == 1_001


def test_killed_again_and_again_it_keeps_everything_once(
    client: redis.Redis, tmp_path: Path
) -> None:
    total, chance = 1_200, random.Random(4)
    folder = dataset_folder(tmp_path / ".cortex")
    options = QUICK | {"LEARNER_MAX_DELIVERIES": "100"}  # one entry may meet every kill
    processes = [spawn("learner", cwd=tmp_path, **options)]
    with running(processes):
        for first in range(0, total, 100):
            numbers = range(first, first + 100)
            publish(
                client, KEYS.decisions, [decision(f"t-{n}", description=f"{n}") for n in numbers]
            )
            for number in numbers:
                report(client, f"t-{number}", chance.choice(["success", "failed"]))
                if number % 3 == 0:
                    report(client, f"t-{number}")
            version = read_manifest(folder).version
            wait_until(lambda v=version: read_manifest(folder).version > v, LOADED, "it writes")
            processes[-1].send_signal(signal.SIGKILL)
            processes.append(spawn("learner", cwd=tmp_path, **options))
        wait_until(lambda: done(client), LOADED, "everything acknowledged")
        assert terminate(processes[-1]) == 0
    dataset = dataset_of(tmp_path)
    assert dataset.counts() == Counts(total, total * 4 // 3, total)
    kept = [each.decision.task_id for each in dataset.reported()]
    assert sorted(kept) == sorted(f"t-{n}" for n in range(total))
    assert len(dataset.examples()) == total
    assert client.xlen(KEYS.dead) == 0


def test_two_learners_share_the_work_and_the_folder(client: redis.Redis, tmp_path: Path) -> None:
    options = QUICK | {"LEARNER_BATCH": "10"}
    processes = [spawn("learner", cwd=tmp_path, **options) for _ in range(2)]
    with running(processes):

        def both() -> bool:
            found = client.exists(KEYS.outcomes) and client.xinfo_consumers(KEYS.outcomes, LEARNING)
            return bool(found) and len(found) == 2

        wait_until(both, LOADED, "both read")
        publish(client, KEYS.decisions, [decision(f"t-{n}") for n in range(300)])
        for number in range(300):
            report(client, f"t-{number}")
        wait_until(lambda: done(client), LOADED, "everything acknowledged")
        assert [terminate(each) for each in processes] == [0, 0]
    assert dataset_of(tmp_path).counts() == Counts(300, 300, 300)


def test_every_partition_is_read(client: redis.Redis, tmp_path: Path) -> None:
    parts = layout("acme:", 3)
    for number, keys in enumerate(parts):
        publish(client, keys.decisions, [decision(f"t-{number}")])
        fields = {"task_id": f"t-{number}", "master": DEV, "outcome": "success"}
        client.xadd(keys.outcomes, {**fields})
    options = QUICK | {"CORTEX_PREFIX": "acme:", "CORTEX_PARTITIONS": "3"}
    learner = spawn("learner", cwd=tmp_path, **options)
    with running([learner]):
        streams = (parts[0].outcomes, *(keys.decisions for keys in parts))
        wait_until(lambda: acknowledged(client, *streams), LOADED, "everything acknowledged")
        assert terminate(learner) == 0
    assert dataset_of(tmp_path).counts() == Counts(3, 3, 3)


def test_on_a_cluster_what_is_malformed_is_shown_beside_the_partitions(tmp_path: Path) -> None:
    options = QUICK | {"CORTEX_PARTITIONS": "4"}
    with Cluster(tmp_path / "cluster") as cluster, connect(cluster.url) as client:
        parts = layout("", 4)
        for number, keys in enumerate(parts):
            publish(client, keys.decisions, [decision(f"t-{number}")])
            client.xadd(keys.decisions, {"decision": "[]"})
            report(client, f"t-{number}")
        report(client, "t-0", "splendid")
        learner = spawn("learner", cwd=tmp_path, REDIS_URL=cluster.url, **options)
        with running([learner]):
            streams = (parts[0].outcomes, *(keys.decisions for keys in parts))
            wait_until(lambda: acknowledged(client, *streams), LOADED, "everything acknowledged")
            assert terminate(learner) == 0
        listed = cortex(cluster.url, "dead", "list", "--json", CORTEX_PARTITIONS="4").stdout
        sources = sorted(each["letter"]["source"] for each in orjson.loads(listed))
    assert sources == sorted([*(keys.decisions for keys in parts), parts[0].outcomes])
    assert dataset_of(tmp_path).counts() == Counts(4, 4, 4)


def test_it_outlives_its_server(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server(None, "--appendonly", "yes", "--appendfsync", "always")
    learner = spawn("learner", cwd=tmp_path, REDIS_URL=server.url, **QUICK)
    with running([learner]):
        with connect(server.url) as client:
            wait_until(lambda: client.exists(KEYS.outcomes) == 1, LOADED, "it reads")
        for round_ in range(3):
            with connect(server.url) as client:
                numbers = range(100 * round_, 100 * round_ + 100)
                publish(client, KEYS.decisions, [decision(f"t-{n}") for n in numbers])
                for number in numbers:
                    report(client, f"t-{number}")
            server.kill()
            server.start()
        with connect(server.url) as client:
            wait_until(lambda: done(client), LOADED, "everything acknowledged")
        assert terminate(learner) == 0
    assert dataset_of(tmp_path).counts() == Counts(300, 300, 300)
