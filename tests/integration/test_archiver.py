from __future__ import annotations

import fcntl
import json
import random
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
from decisions import decision, publish

from contracts.errors import FatalError
from contracts.parse import parse_decision
from rollout.archive import Archive, read_heads
from rollout.archive_file import ChainFile, older_files, read_lines
from rollout.archive_settings import late_path
from rollout.chain import verify
from streams import ranges
from streams.connect import connect
from streams.housekeeping import trim_records
from streams.keys import ARCHIVE, Keys
from streams.partitions import layout, partition_of
from tests.system import running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

KEYS = Keys()
LOADED = 30.0
SIX = ["timestamp", "task_id", "method", "selected_master", "confidence", "ab_test_group"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordination" / "metrics" / "ml-router-metrics.jsonl"


def report(client: redis.Redis, task_id: str, outcome: str = "success", **more: str) -> str:
    fields = {"task_id": task_id, "master": "development-master", "outcome": outcome, **more}
    return cast("bytes", client.xadd(KEYS.outcomes, cast("Any", fields))).decode()


def longer(path: Path, size: int) -> bool:
    return sum(1 for _ in read_lines(path)) > size


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in read_lines(path)]


class Files:
    """Archives one after another over the same files, as processes would be."""

    def __init__(self, client: redis.Redis, path: Path) -> None:
        self.client, self.path = client, path

    def run(
        self, wait_s: int = 0, waiting: int = 1_000, rotate: int = 1 << 30, partitions: int = 0
    ) -> int:
        """Archive all there is; returns how many decisions still wait."""
        metrics, late = ChainFile(self.path, rotate), ChainFile(late_path(self.path), rotate)
        try:
            parts = layout("", partitions)
            archive = Archive(self.client, parts, metrics, late, wait_s, waiting)
            while archive.step():
                pass
            return archive.waiting
        finally:
            metrics.close()
            late.close()


@pytest.fixture
def files(redis_client: redis.Redis, path: Path) -> Files:
    return Files(redis_client, path)


def test_a_line_has_what_the_originals_had_then_ours_then_the_outcome(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision("t-1", arm="b", fallback_reason="timeout")])
    heard = report(redis_client, "t-1", "rerouted", correct_master="security-master", score="0.5")
    assert files.run(wait_s=60) == 0
    (raw,) = read_lines(path)
    line = json.loads(raw)
    assert [*line][:6] == SIX
    assert b'"outcome":"rerouted"' in raw
    assert [*line][-9:] == [
        "entry", "outcome", "outcome_master", "correct_master", "score", "outcome_entry",
        "seq", "prev", "hash",
    ]  # fmt: skip
    assert (line["arm"], line["fallback_reason"]) == ("b", "timeout")
    assert (line["correct_master"], line["score"]) == ("security-master", 0.5)
    ((entry, _),) = ranges.forward(redis_client, KEYS.decisions)
    assert (line["stream"], line["entry"]) == ("decisions", entry.decode())
    assert line["outcome_entry"] == heard


def test_a_decision_waits_and_those_behind_it_wait_with_it(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision("t-1"), decision("t-2")])
    report(redis_client, "t-2")
    assert files.run(wait_s=60) == 2
    assert lines(path) == []
    report(redis_client, "t-1")
    assert files.run(wait_s=60) == 0
    assert [each["outcome"] for each in lines(path)] == ["success", "success"]
    assert [*read_lines(late_path(path))] == []


def test_where_too_many_wait_the_oldest_are_written_without(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(10)])
    assert files.run(wait_s=60, waiting=4) == 4
    assert [each["task_id"] for each in lines(path)] == [f"t-{n}" for n in range(6)]
    for number in range(10):
        report(redis_client, f"t-{number}")
    assert files.run(wait_s=60, waiting=4) == 0
    assert ["outcome" in each for each in lines(path)] == [False] * 6 + [True] * 4
    assert [each["task_id"] for each in lines(late_path(path))] == [f"t-{n}" for n in range(6)]


def test_second_and_unknown_outcomes_are_late(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision("t-1")])
    entries = [
        report(redis_client, "t-1"),
        report(redis_client, "t-1", "failed"),
        report(redis_client, "never decided"),
        report(redis_client, "t-9", "failed"),
    ]
    redis_client.xadd(KEYS.outcomes, {"not": "ours"})
    redis_client.xadd(KEYS.decisions, {"not": "ours"})
    files.run(wait_s=60)
    files.run(wait_s=60)
    assert [each["outcome_entry"] for each in lines(path)] == entries[:1]
    late = lines(late_path(path))
    # "never decided" is no task id: the learner buries it.
    assert [each["outcome_entry"] for each in late] == [entries[1], entries[3]]
    assert b'{"task_id":"t-1","outcome":"failed"' in next(read_lines(late_path(path)))


def test_what_a_crash_tore_is_written_again(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(3)])
    for number in range(3):
        report(redis_client, f"t-{number}")
    files.run(wait_s=60)
    whole = path.read_bytes()
    # As if the last line had been torn, and the server never told of the last two.
    redis_client.delete(KEYS.archive_heads)
    first = whole.splitlines(keepends=True)[0]
    heard = json.loads(first)["outcome_entry"]
    redis_client.xgroup_setid(KEYS.outcomes, ARCHIVE, heard)
    path.write_bytes(whole[:-20])
    files.run(wait_s=60)
    assert path.read_bytes() == whole
    assert [*read_lines(late_path(path))] == []


def test_lines_that_were_cut_off_are_written_again_and_missed_all_the_same(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(4)])
    for number in range(4):
        report(redis_client, f"t-{number}")
    files.run(wait_s=60)
    kept = path.read_bytes().splitlines(keepends=True)[:2]
    path.write_bytes(b"".join(kept))
    files.run(wait_s=60)
    assert [(each["task_id"], each["outcome"]) for each in lines(path)] == [
        (f"t-{n}", "success") for n in range(4)
    ]
    end = read_heads(redis_client, KEYS)[path.name]
    fault = verify(read_lines(path), end=end).fault
    assert fault is not None
    assert (fault.kind, fault.line) == ("missing", 3)


def test_files_are_put_aside_and_the_chain_goes_on(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    for number in range(6):
        publish(redis_client, KEYS.decisions, [decision(f"t-{number}")])
        report(redis_client, f"t-{number}")
        files.run(wait_s=60, rotate=1_000)
    assert [each.name for each in older_files(path)] == [
        f"ml-router-metrics.{n:06d}.jsonl" for n in range(1, 4)
    ]
    assert [each["task_id"] for each in lines(path)] == [f"t-{n}" for n in range(6)]
    assert verify(read_lines(path), end=read_heads(redis_client, KEYS)[path.name]).fault is None


def test_every_partition_is_archived(redis_client: redis.Redis, files: Files, path: Path) -> None:
    parts = layout("", 3)
    for number in range(30):
        task_id = f"t-{number}"
        publish(redis_client, parts[partition_of(task_id, 3)].decisions, [decision(task_id)])
        report(redis_client, task_id)
    for _ in range(2):
        assert files.run(wait_s=60, partitions=3) == 0
    written = lines(path)
    assert sorted(str(each["task_id"]) for each in written) == sorted(f"t-{n}" for n in range(30))
    assert {each["outcome"] for each in written} == {"success"}


def test_one_archiver_at_a_time(redis_client: redis.Redis, files: Files, path: Path) -> None:
    files.run()
    with path.with_name(f".{path.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FatalError, match="another archiver"):
            files.run()
    assert redis_client.exists(KEYS.archive_heads)


def test_another_file_of_the_same_streams_is_noticed(
    redis_client: redis.Redis, path: Path, tmp_path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision("t-1")])
    metrics, late = ChainFile(path, 1 << 30), ChainFile(late_path(path), 1 << 30)
    archive = Archive(redis_client, (KEYS,), metrics, late, 0, 0)
    archive.step()
    Files(redis_client, tmp_path / "other" / path.name).run(waiting=0)
    with pytest.raises(FatalError, match="another archiver"):
        archive.step()
    metrics.close()
    late.close()


def test_nothing_unread_is_trimmed_while_there_was_an_archiver(
    redis_client: redis.Redis, files: Files, path: Path
) -> None:
    publish(redis_client, KEYS.decisions, [decision("t-old"), decision("t-0")])
    report(redis_client, "t-0")
    assert trim_records(redis_client, KEYS.decisions, 3_600, 1) == 1  # nobody asked to keep it
    files.run(wait_s=60)
    publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(1, 500)])
    for number in range(1, 500):
        report(redis_client, f"t-{number}")
    trim_records(redis_client, KEYS.decisions, 3_600, 1)
    trim_records(redis_client, KEYS.outcomes, 3_600, 1)
    files.run(wait_s=60)
    assert [each["task_id"] for each in lines(path)] == [f"t-{n}" for n in range(500)]
    assert all("outcome" in each for each in lines(path))
    trim_records(redis_client, KEYS.decisions, 3_600, 1)
    assert redis_client.xlen(KEYS.decisions) == 1
    redis_client.xgroup_destroy(KEYS.decisions, ARCHIVE)  # how it is retired
    publish(redis_client, KEYS.decisions, [decision("t-500")])
    trim_records(redis_client, KEYS.decisions, 3_600, 1)
    assert redis_client.xlen(KEYS.decisions) == 1


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    """A client of the server that programs started in this folder use."""
    with connect("", data_dir=tmp_path / ".cortex", role="test") as client:
        yield client


def connected(client: redis.Redis, pid: int) -> bool:
    return f"cortex:archiver:{pid}" in {each["name"] for each in client.client_list()}


def caught_up(client: redis.Redis) -> bool:
    """Whether all that is in the streams is in the files, and the server knows."""
    return all(
        group["last-delivered-id"] == client.xinfo_stream(stream)["last-generated-id"]
        for stream in (KEYS.decisions, KEYS.outcomes)
        for group in client.xinfo_groups(stream)
    )


def test_killed_again_and_again_it_writes_everything_once(
    client: redis.Redis, tmp_path: Path, path: Path
) -> None:
    total, chance = 600, random.Random(5)
    options = {"METRICS_WAIT_S": "2", "METRICS_ROTATE_BYTES": "40000"}
    processes = [spawn("archiver", cwd=tmp_path, **options)]
    expected: dict[str, str] = {}
    with running(processes):
        for first in range(0, total, 100):
            numbers = range(first, first + 100)
            publish(client, KEYS.decisions, [decision(f"t-{n}") for n in numbers])
            for number in numbers:
                if number % 5:
                    kind = chance.choice(["success", "failed"])
                    expected[report(client, f"t-{number}", kind)] = f"t-{number}"
                if number % 7 == 0:
                    expected[report(client, f"t-{number}")] = f"t-{number}"
            size = sum(1 for _ in read_lines(path))
            wait_until(partial(longer, path, size), LOADED, "it writes")
            processes[-1].send_signal(signal.SIGKILL)
            processes[-1].wait()
            processes.append(spawn("archiver", cwd=tmp_path, **options))
        last = processes[-1].pid
        wait_until(lambda: connected(client, last), LOADED, "the last one is there")
        wait_until(lambda: caught_up(client), LOADED, "everything is written")
        end = read_heads(client, KEYS)
        assert terminate(processes[-1]) == 0
    written, late = lines(path), lines(late_path(path))
    assert [each["task_id"] for each in written] == [f"t-{n}" for n in range(total)]
    heard = [each for each in (*written, *late) if "outcome" in each]
    assert len(heard) == len(expected)
    assert {each["outcome_entry"]: each["task_id"] for each in heard} == expected
    assert older_files(path)
    for file in (path, late_path(path)):
        assert verify(read_lines(file), end=end.get(file.name)).fault is None
    entries = ranges.forward(client, KEYS.decisions)
    stream = [parse_decision(fields[b"decision"]) for _, fields in entries]
    assert [each.task_id for each in stream] == [each["task_id"] for each in written]
