"""What masters report is remembered, and found when something like it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from decisions import decision, publish
from indexer_trees import KEYS, HashEncoder, contents, open_indexer, put, write

from contracts.encode import outcome_fields
from contracts.errors import TransientError
from contracts.messages import Outcome
from indexer import chronicler as module
from indexer import finished as reading
from indexer.chronicler import Chronicler
from indexer.commit import Ledger
from indexer.finished import Finished
from streams.connect import connect
from streams.partitions import layout, partition_of
from tests.system import running, spawn, terminate, wait_until
from vectors.memory import HISTORY, retrieve

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from contracts.messages import OutcomeKind
    from indexer.apply import Indexer

NAME = "code" + HISTORY
ONE = layout("", 0)


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.0)


@pytest.fixture
def indexer(redis_client: Redis, tmp_path: Path) -> Indexer:
    made: Indexer = open_indexer(redis_client, tmp_path, tmp_path / "store")
    names = [f"{letter}.py" for letter in "abcdefgh"]
    for name in names:
        write(tmp_path, name, f"def work_on_{name[0]}():\n    return None\n")
    write(tmp_path, "a.py", "def polish():\n    return the_lagoon\n")
    assert sorted(made.apply(put(*names))) == names
    made.ledger.refresh()
    return made


def chronicler(client: Redis, indexer: Indexer, store: Path, *, only: bool = True) -> Chronicler:
    ledger = Ledger(client, KEYS, store, NAME, indexer.encoder)
    return Chronicler(Finished(client, ONE), indexer.ledger, ledger, indexer.encoder, only)


def decide(client: Redis, task_id: str, description: str, stream: str = KEYS.decisions) -> None:
    publish(client, stream, [decision(task_id, description=description)])


def report(client: Redis, task_id: str, *files: str, outcome: OutcomeKind = "success") -> None:
    told = Outcome(task_id=task_id, master="m", outcome=outcome, files=[*files])
    client.xadd(KEYS.outcomes, dict(outcome_fields(told).items()))


def said(each: Chronicler) -> list[str]:
    each.ledger.refresh()
    return sorted(chunk.text for [(chunk, _)] in contents(each.ledger.collection).values())


def test_a_finished_task_changes_what_a_similar_one_retrieves(
    redis_client: Redis, indexer: Indexer, tmp_path: Path
) -> None:
    keeper = chronicler(redis_client, indexer, tmp_path / "store")

    def found(text: str) -> list[str]:
        keeper()
        keeper.ledger.refresh()
        code, history = indexer.ledger.collection, keeper.ledger.collection
        return [hit.path for hit in retrieve(code, history, [text], None)[0]]

    assert found("polish the lagoon") == ["a.py"]
    decide(redis_client, "t-1", "Polish the lagoon again\nand mind the flamingos")
    report(redis_client, "t-1", "g.py", "gone.py")
    assert found("polish the lagoon") == ["a.py", "g.py"]
    assert said(keeper) == ["Polish the lagoon again\n\ng.py\ngone.py"]


def test_only_success_with_a_bounded_number_of_sound_paths_is_remembered(
    redis_client: Redis, indexer: Indexer, tmp_path: Path
) -> None:
    keeper = chronicler(redis_client, indexer, tmp_path / "store")
    for number in range(9):
        decide(redis_client, f"t-{number}", f"Work number {number} {'x' * 8_000}")
    report(redis_client, "t-0", "a.py", outcome="failed")
    report(redis_client, "t-1")
    report(redis_client, "t-2", *(f"{n}.py" for n in range(31)))
    report(redis_client, "t-3", *("a/" * 1_500 + f"{n}" for n in range(3)))
    report(redis_client, "unknown", "a.py")

    def tell(**fields: str | bytes) -> None:
        redis_client.xadd(KEYS.outcomes, dict(fields.items()))

    raw: dict[str, str | bytes] = {"task_id": "t-4", "master": "m", "outcome": "success"}
    for files in (
        '["/etc/passwd"]',
        '["../a.py"]',
        '["a.py"',
        '"a.py"',
        "[" * 10_000,
        '["x\\n\\n"]',
    ):
        tell(**raw, files=files)
    tell(**raw, files=orjson.dumps(["y" * (1 << 20)]))
    tell(**raw, files=orjson.dumps(["y.py"] * 10_001))
    redis_client.xadd(KEYS.decisions, {"task_id": "t-8", "decision": "{"})
    redis_client.xadd(KEYS.decisions, {"nothing": "at all"})
    report(redis_client, "t-5", *["a.py"] * 50)
    keeper()
    [only] = said(keeper)
    assert only.startswith("Work number 5 xxx")
    assert only.endswith("xxx\n\na.py")
    assert len(only) == 200 + len("\n\na.py")


def test_each_task_goes_in_once_however_many_indexers_there_are(
    redis_client: Redis, indexer: Indexer, tmp_path: Path
) -> None:
    for number in range(5):
        decide(redis_client, f"t-{number}", f"work {number}")
        report(redis_client, f"t-{number}", "a.py")
        report(redis_client, f"t-{number}", "a.py")
    keepers = [chronicler(redis_client, indexer, tmp_path / "store") for _ in range(2)]
    for keeper in keepers:
        keeper()
        keeper()
    assert redis_client.xlen(KEYS.vectors(NAME)) == 5
    chronicler(redis_client, indexer, tmp_path / "store")()
    assert redis_client.xlen(KEYS.vectors(NAME)) == 5
    assert said(keepers[0]) == [f"work {number}\n\na.py" for number in range(5)]


def test_a_decision_read_earlier_is_joined_later_and_the_oldest_are_let_go(
    redis_client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_DECISIONS", 2)
    finished = Finished(redis_client, ONE)
    for number in range(4):
        decide(redis_client, f"t-{number}", f"work {number}")
    report(redis_client, "t-3", "a.py")
    assert [work.said for work in finished.new()] == ["work 3"]
    redis_client.delete(KEYS.decisions)
    report(redis_client, "t-2", "a.py")
    report(redis_client, "t-1", "a.py")
    assert [work.said for work in finished.new()] == ["work 2"]
    assert finished.new() == []
    finished.again()
    assert [work.said for work in finished.new()] == ["work 3", "work 2"]


def test_decisions_are_found_in_every_partition(redis_client: Redis) -> None:
    parts = layout("", 4)
    for number in range(12):
        stream = parts[partition_of(f"t-{number}", 4)].decisions
        decide(redis_client, f"t-{number}", f"work {number}", stream)
        report(redis_client, f"t-{number}", "a.py")
    told = Finished(redis_client, parts).new()
    assert [work.said for work in told] == [f"work {number}" for number in range(12)]


def test_the_newest_tasks_are_kept_and_a_lost_history_is_written_again(
    redis_client: Redis, indexer: Indexer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_TASKS", 3)
    keeper = chronicler(redis_client, indexer, tmp_path / "store")
    for number in range(5):
        decide(redis_client, f"t-{number}", f"work {number}")
        report(redis_client, f"t-{number}", "a.py")
        keeper()
    kept = said(keeper)
    assert len(kept) == 3
    redis_client.delete(KEYS.vectors(NAME), KEYS.file_versions(NAME))
    keeper.ledger.refresh()
    keeper()
    assert len(said(keeper)) == 3


def test_work_on_other_files_belongs_to_another_collection(
    redis_client: Redis, indexer: Indexer, tmp_path: Path
) -> None:
    keeper = chronicler(redis_client, indexer, tmp_path / "store", only=False)
    for number, path in enumerate(("elsewhere.md", "b.py")):
        decide(redis_client, f"t-{number}", f"work {number}")
        report(redis_client, f"t-{number}", path)
    keeper()
    assert said(keeper) == ["work 1\n\nb.py"]


def test_what_waits_survives_an_encoder_that_is_down(
    redis_client: Redis, indexer: Indexer, tmp_path: Path
) -> None:
    keeper = chronicler(redis_client, indexer, tmp_path / "store")
    encoder = keeper.encoder
    assert isinstance(encoder, HashEncoder)
    decide(redis_client, "t-1", "work done")
    report(redis_client, "t-1", "a.py")
    encoder.failing = True
    with pytest.raises(TransientError):
        keeper()
    encoder.failing = False
    keeper()
    assert said(keeper) == ["work done\n\na.py"]


def test_a_report_reaches_the_next_decision_within_seconds(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(12):
        text = f"def handler_{number}(request):\n    return census(request)\n"
        write(source, f"app/handler_{number}.py", text)
    text = "Recount the census of handlers after the flood"
    with connect(data_dir=tmp_path / ".cortex") as client:

        def ask(task_id: str) -> list[str]:
            client.xadd(KEYS.tasks, {"task_id": task_id, "description": text})

            def decided() -> bool:
                newest = client.xrevrange(KEYS.decisions, count=1)
                return bool(newest) and newest[0][1][b"task_id"] == task_id.encode()

            wait_until(decided, 60, f"{task_id} is decided")
            entry = orjson.loads(client.xrevrange(KEYS.decisions, count=1)[0][1][b"decision"])
            return [item["path"] for item in entry["context"]]

        processes = [
            spawn("indexer", cwd=tmp_path, CORTEX_ROOT=str(source)),
            spawn("worker", cwd=tmp_path),
        ]
        with running(processes):
            wait_until(lambda: client.hlen(KEYS.file_versions("code")) >= 12, 120, "indexed")
            numbers = iter(range(10_000))
            wait_until(lambda: len(ask(f"warm-{next(numbers)}")) == 5, 60, "context")
            untouched = ({f"app/handler_{n}.py" for n in range(12)} - {*ask("before")}).pop()
            client.xadd(
                KEYS.outcomes,
                {
                    "task_id": "before",
                    "master": "development-master",
                    "outcome": "success",
                    "files": orjson.dumps([untouched]),
                },
            )
            took = wait_until(
                lambda: ask(f"after-{next(numbers)}")[:1] == [untouched], 20, "it is remembered"
            )
            assert took < 20
            assert [terminate(each) for each in processes[::-1]] == [0, 0]
