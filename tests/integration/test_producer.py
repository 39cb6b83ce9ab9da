"""A producer knows of every task what became of it, and sends none twice unasked."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from chaos.cluster import Cluster
from chaos.proxy import Proxy
from chaos.servers import Server, free_port
from contracts.errors import TransientError
from contracts.messages import Task
from streams.backlog import backlog
from streams.connect import connect
from streams.keys import Keys
from streams.partitions import layout, partition_of
from streams.producer import Producer, Submission

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from redis import Redis

KEYS = Keys()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "server") as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.socket) as proxy:
        yield proxy


def some(count: int, first: int = 0) -> list[Task]:
    return [Task(task_id=f"t-{n}", description="fix it") for n in range(first, first + count)]


def verdicts(submissions: Sequence[Submission]) -> str:
    """One letter per task: o, f or u."""
    return "".join(each.verdict[0] for each in submissions)


def ids(client: Redis, *parts: Keys) -> list[str]:
    return [
        fields[b"task_id"].decode()
        for keys in parts or [KEYS]
        for stream in keys.task_streams
        for _id, fields in client.xrange(stream)
    ]


def test_every_task_is_in_the_queue_of_its_priority_in_order(redis_client: Redis) -> None:
    producer = Producer(redis_client, [KEYS])
    assert verdicts(producer.submit(some(1_203))) == "o" * 1_203
    assert verdicts(producer.submit(some(1, 2_000), "high")) == "o"
    assert verdicts(producer.submit([], "low")) == ""
    assert ids(redis_client) == ["t-2000", *(f"t-{n}" for n in range(1_203))]


def test_a_partition_has_what_belongs_to_it(redis_client: Redis) -> None:
    parts = layout("acme:", 4)
    assert verdicts(Producer(redis_client, parts).submit(some(100), "low")) == "o" * 100
    assert sum(redis_client.xlen(keys.task_streams[2]) for keys in parts) == 100
    assert all(redis_client.xlen(keys.task_streams[2]) > 10 for keys in parts)


def test_what_the_server_refuses_has_failed(redis_client: Redis) -> None:
    redis_client.set(KEYS.tasks, "no stream")
    submissions = Producer(redis_client, [KEYS]).submit(some(700))
    assert verdicts(submissions) == "f" * 700
    assert isinstance(submissions[0].error, ResponseError)
    assert "WRONGTYPE" in str(submissions[499].error)
    assert isinstance(submissions[500].error, TransientError)  # never sent


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError),
        (b"READONLY You can't write against a read only replica.", ReadOnlyError),
        (b"MISCONF Errors writing to the AOF file: No space left on device", ResponseError),
        (b"NOREPLICAS Not enough good replicas to write.", ResponseError),
        (b"LOADING Redis is loading the dataset in memory", Exception),
    ],
)
def test_one_refusal_says_nothing_of_the_others(
    server: Server, proxy: Proxy, answer: bytes, kind: type[Exception]
) -> None:
    with connect(proxy.url) as client:
        proxy.answer(answer, 1, "XADD")
        producer = Producer(client, [KEYS])
        submissions = producer.submit(some(5))
        assert verdicts(submissions) == "foooo"
        assert isinstance(submissions[0].error, kind)
        proxy.answer(answer, 1, "XADD")
        assert verdicts(producer.submit_surely(some(5, 5))) == "ooooo"
    with server.client() as client:
        assert sorted(ids(client)) == [f"t-{n}" for n in range(1, 10)]


def test_what_was_answered_before_the_connection_broke_is_known(
    server: Server, proxy: Proxy
) -> None:
    parts = layout("", 2)
    there = [task for task in some(1_000) if not partition_of(task.task_id, 2)]
    elsewhere = next(task for task in some(1_000) if partition_of(task.task_id, 2))
    tasks = [*there[:200], elsewhere, *there[200:]]
    with connect(proxy.url) as client:
        proxy.lose_replies(1, f"XADD {parts[1].tasks}")
        submissions = Producer(client, parts).submit(tasks[:450])
    # How many answers were read before the connection broke is chance; none of them is "failed".
    known = verdicts(submissions).rstrip("u")
    assert known == "o" * len(known)
    assert len(known) <= 200
    with server.client() as client:
        present = ids(client, *parts)
    assert [task.task_id for task in [*there[:200], elsewhere]] == sorted(
        present, key=[task.task_id for task in tasks].index
    )[:201]


def test_nothing_is_sent_after_a_lost_reply(server: Server, proxy: Proxy) -> None:
    with connect(proxy.url) as client:
        proxy.lose_replies(1, "XADD")
        submissions = Producer(client, [KEYS]).submit(some(1_000))
    assert verdicts(submissions) == "u" * 500 + "f" * 500
    with server.client() as client:
        assert not {f"t-{n}" for n in range(500, 1_000)} & set(ids(client))


def test_nobody_there_is_a_failure(server: Server) -> None:
    with server.client() as client:
        server.kill()
        submissions = Producer(client, [KEYS]).submit(some(2))
    assert verdicts(submissions) == "ff"
    assert "not sent" in str(submissions[0].error)


def test_a_lost_reply_is_followed_by_another_attempt_where_that_is_wanted(
    server: Server, proxy: Proxy
) -> None:
    with connect(proxy.url) as client:
        proxy.lose_replies(1, "XADD")
        assert verdicts(Producer(client, [KEYS]).submit_surely(some(20))) == "o" * 20
    assert proxy.injected["lost reply"] == 1
    with server.client() as client:
        assert set(ids(client)) == {f"t-{n}" for n in range(20)}
        assert len(ids(client)) > 20


def test_no_attempt_is_made_for_ever_and_doubt_stays_doubt(server: Server, proxy: Proxy) -> None:
    with connect(proxy.url) as client:
        proxy.lose_replies(1, "XADD")
        proxy.answer(b"OOM no", 1_000, "XADD")
        submissions = Producer(client, [KEYS]).submit_surely(some(1), within=0.5)
        assert verdicts(submissions) == "u"
        server.kill()
        client.connection_pool.disconnect()  # the proxy may not have: sent and unanswered is doubt
        assert verdicts(Producer(client, [KEYS]).submit_surely(some(1), within=0.5)) == "f"


def test_a_refusal_for_good_is_not_repeated(redis_client: Redis) -> None:
    redis_client.set(KEYS.tasks, "no stream")
    before = redis_client.info("commandstats")["cmdstat_xadd"]["calls"]
    assert verdicts(Producer(redis_client, [KEYS]).submit_surely(some(1))) == "f"
    assert redis_client.info("commandstats")["cmdstat_xadd"]["calls"] == before + 1


def test_too_few_replicas_is_doubt(tmp_path: Path, redis_client: Redis) -> None:
    submissions = Producer(redis_client, [KEYS], confirm_replicas=1, confirm_ms=10).submit(some(2))
    assert verdicts(submissions) == "uu"
    assert "only 0 of 1 replicas" in str(submissions[0].error)
    with (
        Server(tmp_path / "a", port=free_port()) as primary,
        Server(tmp_path / "b", "--replicaof", "127.0.0.1", str(primary.port)),
        primary.client() as client,
    ):
        producer = Producer(client, [KEYS], confirm_replicas=1, confirm_ms=2_000)
        assert verdicts(producer.submit_surely(some(3), within=30)) == "ooo"


# -- backpressure ---------------------------------------------------------------------------------


def test_the_backlog_is_what_is_unread_or_pending(redis_client: Redis) -> None:
    client = redis_client
    assert backlog(client, KEYS.task_streams) == 0
    Producer(client, [KEYS]).submit(some(10))
    assert backlog(client, KEYS.task_streams) == 10  # nobody reads yet
    client.xgroup_create(KEYS.tasks, "workers", id="0")
    assert backlog(client, KEYS.task_streams) == 10
    got = client.xreadgroup("workers", "w", {KEYS.tasks: ">"}, count=6)
    entry_ids = [entry_id for entry_id, _fields in got[KEYS.tasks.encode()]]
    client.xack(KEYS.tasks, "workers", *entry_ids[:4])
    assert backlog(client, KEYS.task_streams) == 6
    client.xdel(KEYS.tasks, client.xrevrange(KEYS.tasks, count=2)[1][0])
    assert client.xinfo_groups(KEYS.tasks)[0]["lag"] is None
    assert backlog(client, KEYS.task_streams) == 9  # rather too much than too little


def test_a_full_queue_fails_with_a_clear_error_or_makes_wait(redis_client: Redis) -> None:
    client = redis_client
    client.xgroup_create(KEYS.tasks, "workers", id="0", mkstream=True)
    failing = Producer(client, [KEYS], backlog_limit=700, patience=0)
    submissions = failing.submit(some(1_000))
    assert verdicts(submissions) == "o" * 700 + "f" * 300
    assert str(submissions[700].error) == "the backlog is 700 tasks, its limit 700"
    assert isinstance(submissions[700].error, TransientError)

    # Nothing more urgent waits: what goes before low goes first, so it does not hold up high.
    assert verdicts(failing.submit(some(1, 1_000), "high")) == "o"
    assert verdicts(failing.submit(some(1, 1_001), "low")) == "f"

    waiting = Producer(client, [KEYS], backlog_limit=700, patience=30)
    done: list[Submission] = []
    thread = threading.Thread(target=lambda: done.extend(waiting.submit(some(400, 2_000))))
    thread.start()
    read = 0
    while thread.is_alive():
        assert backlog(client, [KEYS.tasks]) <= 700
        got = client.xreadgroup("workers", "w", {KEYS.tasks: ">"}, count=100, block=20)
        if got:
            entries = got[KEYS.tasks.encode()]
            read += client.xack(KEYS.tasks, "workers", *(entry_id for entry_id, _fields in entries))
    thread.join(30)
    assert verdicts(done) == "o" * 400
    assert read >= 400


def test_waiting_ends(redis_client: Redis) -> None:
    producer = Producer(redis_client, [KEYS], backlog_limit=1, patience=0.3)
    begun = time.monotonic()
    submissions = producer.submit(some(2))
    assert time.monotonic() - begun >= 0.3
    assert verdicts(submissions) == "of"
    assert "its limit 1" in str(submissions[1].error)


def test_the_backlog_is_measured_seldom(redis_client: Redis) -> None:
    before = redis_client.info("commandstats").get("cmdstat_xinfo|groups", {}).get("calls", 0)
    producer = Producer(redis_client, [KEYS], backlog_limit=1_000_000)
    begun = time.monotonic()
    for n in range(300):
        producer.submit(some(1, n))
    took = time.monotonic() - begun
    calls = redis_client.info("commandstats")["cmdstat_xinfo|groups"]["calls"] - before
    assert calls <= 2 * (took / 0.1 + 1)  # one for each of two streams


# -- a cluster ------------------------------------------------------------------------------------


def test_a_cluster_with_a_slot_on_the_move_and_a_master_gone(tmp_path: Path) -> None:
    parts = layout("", 6)
    with Cluster(tmp_path) as cluster, connect(cluster.url) as client:
        producer = Producer(client, parts, backlog_limit=1_000)
        assert verdicts(producer.submit(some(300))) == "o" * 300
        assert sorted(ids(client, *parts)) == sorted(f"t-{n}" for n in range(300))
        assert backlog(client, [keys.tasks for keys in parts]) == 300

        first, target = cluster.node_of(client.keyslot(parts[0].tasks)), cluster.nodes[2]
        assert cluster.migrate_slot(client.keyslot(parts[0].tasks), target) == 1
        assert verdicts(producer.submit(some(300, 300))) == "o" * 300
        assert len(ids(client, *parts)) == 600

        first.kill()
        submissions = producer.submit(some(100, 600))
        assert 0 < verdicts(submissions).count("f") <= 100  # all, where the next node is asked late
        assert "u" not in verdicts(submissions)
