"""Each check of `cortex doctor`, well and with a real cause for what it finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from corpus import DIM, put
from cortex_program import cortex
from decisions import decision
from router_models import write_model

from contracts.encode import encode_decision
from ops.checks.server import judge_version
from ops.doctor import examine
from registry.registry import Registry
from router.masters import Masters
from router.rules import Rules
from streams.connect import connect
from streams.consumer import Consumer
from streams.keys import INDEXERS, LEARNING, WORKERS, Keys
from vectors.collection import Collection
from vectors.currency import say_current
from vectors.exported import default_cache_dir, folder_name
from vectors.model_source import resolve
from vectors.snapshot import write_snapshot
from vectors.types import LogPosition
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from redis import Redis

    from chaos.servers import Server
    from contracts.messages import Decision
    from ops.checks.finding import Finding

    MakeServer = Callable[..., Server]
    WaitFor = Callable[..., None]

KEYS = Keys()
HOUR_MS = 3_600_000
MASTER = "security-master"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("CORTEX_DATA_DIR", str(tmp_path / "data"))


def look(check: str) -> list[Finding]:
    found = [finding for finding in examine() if finding.check == check]
    assert found, f"nothing was said of {check}"
    return found


def verdict(check: str) -> str:
    (finding,) = look(check)
    assert (finding.remedy is None) == (finding.verdict == "ok"), finding
    return finding.verdict


def server_ms(client: Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds * 1_000 + microseconds // 1_000)


def add_old(client: Redis, stream: str, age_ms: float, count: int = 1, **fields: str) -> None:
    first = server_ms(client) - int(age_ms)
    with client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            pipeline.xadd(stream, {"a": "b", **fields}, id=f"{first}-{number + 1}")
        pipeline.execute()


def decide(client: Redis, age_ms: float, decisions: Iterable[Decision]) -> None:
    first = server_ms(client) - int(age_ms)
    with client.pipeline(transaction=False) as pipeline:
        for number, each in enumerate(decisions):
            pipeline.xadd(
                KEYS.decisions, {"decision": encode_decision(each)}, id=f"{first}-{number + 1}"
            )
        pipeline.execute()


def test_a_fresh_system_is_well_but_for_what_was_not_started(redis_client: Redis) -> None:
    assert redis_client.dbsize() == 0
    found = list(examine())
    assert {each.check for each in found if each.verdict == "warn"} - {"models", "encoder"} == {
        "workers",
        "indexers",
        "learners",
        "snapshots",
        "index-age",
    }
    assert not [each for each in found if each.verdict in {"fail", "unknown"}]
    assert redis_client.dbsize() == 0, "looking leaves nothing behind"


def test_the_command_says_it_all_and_exits_by_it(redis_client: Redis, redis_url: str) -> None:
    well = cortex(redis_url, "doctor", "--json")
    assert well.returncode == 0, well.stderr
    assert json.loads(well.stdout)["verdict"] == "warn"
    redis_client.hset(KEYS.rollout, "percentage", "many")
    ill = cortex(redis_url, "doctor", "--json")
    assert ill.returncode == 1
    failed = [each for each in json.loads(ill.stdout)["findings"] if each["verdict"] == "fail"]
    assert [each["check"] for each in failed] == ["live-configuration"]
    text = cortex(redis_url, "doctor")
    assert text.returncode == 1
    assert f"live-configuration: {failed[0]['remedy']}" in text.stdout
    assert text.stderr == ""


def test_a_malformed_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_BATCH", "many")
    (only,) = examine()
    assert (only.check, only.verdict) == ("settings", "fail")
    assert "WORKER_BATCH" in only.detail


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    found = {each.check: each.verdict for each in examine()}
    assert found["redis"] == "fail"
    assert found["server"] == found["tasks"] == found["drift"] == "unknown"
    assert found["masters-file"] == found["rules-file"] == "ok"


def test_a_server_that_is_too_old(redis_client: Redis) -> None:
    assert judge_version(redis_client.info("server")).verdict == "ok"
    assert judge_version({"redis_version": "6.2.14"}).verdict == "fail"
    assert judge_version({"redis_version": "7.0.0"}).verdict == "ok"
    newer = judge_version({"redis_version": "7.2.4", "valkey_version": "10.0.1"})
    assert (newer.verdict, newer.detail) == ("ok", "Valkey 10.0.1")


def test_memory_that_runs_out(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_server()
    monkeypatch.setenv("REDIS_URL", server.url)
    assert verdict("memory") == "ok"
    with server.client() as client:
        client.setrange("ballast", 64 << 20, b"x")  # made there, so that no buffer is freed later
        memory = client.info("memory")
        used = memory["used_memory"] - memory.get("mem_not_counted_for_evict", 0)
        for share, expected in ((0.5, "ok"), (0.775, "warn"), (0.9, "fail")):
            client.config_set("maxmemory", int(used / share))
            assert verdict("memory") == expected


def test_a_server_that_throws_queues_away(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(None, "--maxmemory-policy", "allkeys-lru")
    monkeypatch.setenv("REDIS_URL", server.url)
    assert verdict("eviction") == "warn"
    with server.client() as client:
        client.config_set("maxmemory", 1 << 30)
        assert verdict("eviction") == "fail"
        client.config_set("maxmemory-policy", "noeviction")
    assert verdict("eviction") == "ok"


def test_a_server_that_forgets(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_server(None, "--appendonly", "no")
    monkeypatch.setenv("REDIS_URL", server.url)
    assert verdict("persistence") == "warn"


def test_a_server_that_cannot_write(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, eventually: WaitFor
) -> None:
    server = make_server(None, "--dbfilename", "taken")
    monkeypatch.setenv("REDIS_URL", server.url)
    assert verdict("persistence") == "ok"
    (server.directory / "taken").mkdir()  # a snapshot cannot be renamed to that
    with server.client() as client:
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    assert verdict("persistence") == "fail"


@pytest.mark.usefixtures("redis_client")
def test_files_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("fallback =")
    monkeypatch.setenv("CORTEX_RULES", str(tmp_path / "bad.toml"))
    assert verdict("rules-file") == "fail"
    assert verdict("masters-file") == "ok"
    monkeypatch.setenv("CORTEX_MASTERS", str(tmp_path / "bad.toml"))
    assert verdict("masters-file") == "fail"
    assert verdict("masters") == "unknown"


def test_a_live_configuration_that_is_malformed(redis_client: Redis) -> None:
    redis_client.hset(KEYS.rollout, "percentage", "0.5")
    assert verdict("live-configuration") == "ok"
    redis_client.hset(KEYS.rollout, "percentage", "half")
    assert verdict("live-configuration") == "fail"


@pytest.mark.parametrize(
    ("age_ms", "expected"), [(1_000, "ok"), (120_000, "warn"), (2 * HOUR_MS, "fail")]
)
@pytest.mark.parametrize("read", [False, True])
def test_tasks_that_wait(redis_client: Redis, age_ms: int, expected: str, *, read: bool) -> None:
    add_old(redis_client, KEYS.tasks, age_ms)
    consumer = Consumer(redis_client, (KEYS.tasks,), WORKERS, "w")
    consumer.join()
    if read:
        consumer.read(1, 0)  # and it stays pending
    assert verdict("tasks") == expected
    assert look("tasks")[0].detail.startswith("1 tasks wait")


def test_tasks_that_nobody_ever_read(redis_client: Redis) -> None:
    add_old(redis_client, KEYS.task_streams[2], 2 * HOUR_MS, 3)
    assert verdict("tasks") == "fail"
    assert verdict("workers") == "fail"


def test_what_is_settled_does_not_wait(redis_client: Redis) -> None:
    add_old(redis_client, KEYS.tasks, 2 * HOUR_MS)
    consumer = Consumer(redis_client, (KEYS.tasks,), WORKERS, "w")
    consumer.join()
    (entry,) = consumer.read(1, 0)
    redis_client.xack(KEYS.tasks, WORKERS, entry.id)
    assert verdict("tasks") == "ok"


def test_a_master_that_does_not_read(redis_client: Redis) -> None:
    stream = KEYS.master(MASTER)
    add_old(redis_client, stream, 2 * HOUR_MS)
    assert verdict("masters") == "fail"
    assert look("masters")[0].detail.startswith(f"{MASTER}: 1 decisions wait, and it has never")
    redis_client.xgroup_create(stream, MASTER, "0")
    assert verdict("masters") == "warn"
    redis_client.xgroup_setid(stream, MASTER, "$")
    assert verdict("masters") == "ok"


def test_dead_letters_that_grow(redis_client: Redis) -> None:
    add_old(redis_client, KEYS.dead, 48 * HOUR_MS, 50, reason="too_large")
    assert verdict("dead-letters") == "ok"
    add_old(redis_client, KEYS.dead, HOUR_MS / 2, 30, reason="invalid_json")
    assert verdict("dead-letters") == "fail"
    (found,) = look("dead-letters")
    assert "80 in all, 30 within a day, 30 within an hour: invalid_json (30)" in found.detail
    decide(redis_client, HOUR_MS / 2, [decision("t")] * 1_000)
    assert verdict("dead-letters") == "warn"


@pytest.mark.parametrize(
    ("role", "stream", "group"),
    [
        ("worker", KEYS.tasks, WORKERS),
        ("indexer", KEYS.files, INDEXERS),
        ("learner", KEYS.outcomes, LEARNING),
    ],
)
def test_those_who_should_read(
    redis_client: Redis, redis_url: str, role: str, stream: str, group: str
) -> None:
    check = f"{role}s"
    assert verdict(check) == "warn"
    with connect(redis_url, role=role):
        assert verdict(check) == "unknown"
        Consumer(redis_client, (stream,), group, "me").join()
        assert verdict(check) == "ok"
    assert verdict(check) == "ok"
    redis_client.xgroup_delconsumer(stream, group, "me")
    assert verdict(check) == "warn"


def test_no_indexer_is_missed_where_nothing_is_retrieved(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENABLE_RAG", "false")
    assert redis_client.ping()
    for check in ("indexers", "snapshots", "index-age"):
        assert verdict(check) == "ok"


def snapshot(store: Path, embedder: str, position: LogPosition) -> Path:
    collection = Collection.empty("code", DIM, embedder, position)
    collection.apply(put("a.py", 1, "def login(session)"))
    info = write_snapshot(collection, store, token=1)
    return store / "code" / info.snapshot


def test_an_index_that_is_damaged(redis_client: Redis, tmp_path: Path) -> None:
    assert redis_client.ping()
    store = tmp_path / "data" / "store"
    folder = snapshot(store, f"{resolve(None).name}:openvino", LogPosition())
    assert verdict("snapshots") == "ok"
    (folder / "vectors.faiss").write_bytes(b"junk")
    assert verdict("snapshots") == "fail"
    assert "vectors.faiss" in look("snapshots")[0].detail
    (store / "code" / "manifest.json").write_bytes(b"junk")
    assert verdict("snapshots") == "fail"


def test_an_index_of_another_encoder(redis_client: Redis, tmp_path: Path) -> None:
    assert redis_client.ping()
    snapshot(tmp_path / "data" / "store", "other:openvino", LogPosition())
    assert verdict("snapshots") == "fail"
    assert "made with the encoder other" in look("snapshots")[0].detail


def test_a_log_that_was_lost(redis_client: Redis, tmp_path: Path) -> None:
    assert redis_client.ping()
    assert verdict("delta-log") == "ok"
    snapshot(tmp_path / "data" / "store", "any", LogPosition("log", 7, "7-0"))
    assert verdict("delta-log") == "fail"


def test_an_index_that_lags_behind(redis_client: Redis) -> None:
    log = KEYS.vectors("code")
    say_current(redis_client, log, server_ms(redis_client))
    assert verdict("index-age") == "ok"
    say_current(redis_client, log, server_ms(redis_client) - HOUR_MS)
    assert verdict("index-age") == "warn"


def test_an_encoder_that_was_not_exported_or_is_damaged(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert redis_client.ping()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert verdict("encoder") == "warn"
    folder = default_cache_dir() / folder_name(resolve(None).name)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    assert verdict("encoder") == "fail"
    monkeypatch.setenv("CORTEX_ENCODER", str(tmp_path / "nowhere"))
    assert verdict("encoder") == "fail"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two models, for other masters each; the first is the champion."""
    registry = Registry(tmp_path / "data" / "models")
    first, second = (
        _add(registry, tmp_path, favourite) for favourite in ("cicd-master", "security-master")
    )
    registry.promote(first, who="test")
    registry.challenge(second, who="test")
    return registry


def _add(registry: Registry, tmp_path: Path, favourite: str) -> str:
    write_model(tmp_path / favourite, favourite)
    return registry.add(tmp_path / favourite)


def _damage(registry: Registry, alias: str) -> None:
    head = registry.path(alias) / "head.safetensors"
    head.chmod(0o644)
    head.write_bytes(b"junk")


def test_models_that_are_damaged(redis_client: Redis, registry: Registry) -> None:
    assert redis_client.ping()
    assert [each.verdict for each in look("models")] == ["ok", "ok"]
    _damage(registry, "challenger")
    assert [each.verdict for each in look("models")] == ["ok", "warn"]
    _damage(registry, "champion")
    champion, _ = look("models")
    assert champion.verdict == "fail"
    assert "head.safetensors" in champion.detail


def test_a_model_for_other_masters(
    redis_client: Redis, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert redis_client.ping()
    assert registry.aliases()
    (tmp_path / "masters.toml").write_text(
        'fallback = "only"\n[[master]]\nname = "only"\ndescription = "takes all"\n'
    )
    (tmp_path / "rules.toml").write_text("")
    monkeypatch.setenv("CORTEX_MASTERS", str(tmp_path / "masters.toml"))
    champion, _ = look("models")
    assert (champion.verdict, "labels that are no masters" in champion.detail) == ("fail", True)


def test_a_pinned_model_that_is_not_there(redis_client: Redis, registry: Registry) -> None:
    assert registry.aliases()
    redis_client.hset(KEYS.rollout, "model", "gone")
    assert verdict("models") == "fail"


def test_the_model_of_an_arm_that_is_not_there(redis_client: Redis, registry: Registry) -> None:
    champion = registry.aliases()["champion"]
    arm = {"name": "a", "buckets": [0, 10], "model": champion}
    redis_client.hset(KEYS.rollout, "version", 1)
    redis_client.hset(KEYS.rollout, "percentage", 0)
    redis_client.hset(KEYS.rollout, "arms", json.dumps([arm]))
    assert {each.verdict for each in look("models")} == {"ok"}
    lost = json.dumps([arm, arm | {"name": "b", "buckets": [10, 20], "model": "gone"}])
    redis_client.hset(KEYS.rollout, "arms", lost)
    lost_arm, *others = look("models")
    assert (lost_arm.verdict, lost_arm.detail[:5]) == ("fail", "gone:")
    assert {each.verdict for each in others} == {"ok"}


def test_workers_that_run_something_else(redis_client: Redis, registry: Registry) -> None:
    settings = Settings()
    rules = Rules.parse(settings.rules_text, Masters.parse(settings.masters_text)).version
    champion = registry.aliases()["champion"]
    later_ms = -3_000  # after the promotion, and time to follow it
    assert verdict("versions") == "ok"
    decide(redis_client, later_ms, [decision("a", model_version=champion, rules_version=rules)])
    assert look("versions")[0].detail == "1 decisions agree with what is here"
    decide(redis_client, later_ms - 1, [decision("b", model_version="x", rules_version=rules)])
    assert verdict("versions") == "warn"
    assert f"model of decisions: {champion}, x" in look("versions")[0].detail
    redis_client.delete(KEYS.decisions)
    decide(redis_client, later_ms, [decision("c", model_version=champion, rules_version="old")])
    assert "rules of decisions: old" in look("versions")[0].detail


def tasks_about(words: str, count: int) -> list[Decision]:
    return [
        decision(f"t{number}", description=f"fix the {words.split()[number % 4]}", confidence=0.5)
        for number in range(count)
    ]


def test_drift_of_the_last_day(redis_client: Redis) -> None:
    for hours in range(140, 30, -5):
        decide(redis_client, hours * HOUR_MS, tasks_about("aa bb ccc dddd", 12))
    assert verdict("drift") == "ok"
    assert look("drift")[0].detail.startswith("too little to compare: 0 decisions within a day")
    for hours in range(20, 8, -2):
        decide(redis_client, hours * HOUR_MS, tasks_about("aa bb ccc dddd", 24))
    assert verdict("drift") == "ok"
    (quiet,) = look("drift")
    assert quiet.detail.startswith("none: 144 decisions within a day, 264 before")
    assert "sample" not in quiet.detail
    assert quiet.facts
    assert quiet.facts["changed_by_operators"] == []

    news = [
        decision(f"n{number}", description=f"melde den vorfall {number}", model_version="new")
        for number in range(100)
    ]
    for hours in range(8, 0, -1):
        decide(redis_client, hours * HOUR_MS, news)
    assert verdict("drift") == "warn"
    (found,) = look("drift")
    assert found.facts
    assert "new-words" in found.detail
    assert "vorfall" in found.detail
    assert found.facts["changed_by_operators"] == ["model"]
    assert "the model changed meanwhile" in str(found.remedy)
    decide(redis_client, HOUR_MS / 2, news * 4)
    assert "(a sample)" in look("drift")[0].detail
