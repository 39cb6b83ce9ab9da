"""Kills an archiver before each change it makes: `python -m tests.faults.archive_kill URL FOLDER`.

Prints how many kills there were before which call.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from chaos.interrupt import Interrupted
from rollout.archive import Archive, read_heads
from rollout.archive_file import ChainFile, read_lines
from rollout.archive_settings import late_path
from rollout.chain import verify
from streams.connect import connect
from streams.keys import Keys

if TYPE_CHECKING:
    from redis import Redis

KEYS = Keys()
DECISION = {
    "timestamp": "2026-01-01T00:00:00Z",
    "method": "rule-based",
    "selected_master": "a",
    "confidence": 0.5,
    "ab_test_group": "control",
    "bucket": 7,
    "experiment": "router",
    "model_version": None,
    "rules_version": "r",
    "config_version": 0,
    "context_status": "empty",
    "latency_ms": 1.0,
    "attempt": 1,
    "propensity": 1.0,
}
ROTATE = 2_500  # some lines to a file


def archive(client: Redis, path: Path, waiting: int = 100) -> None:
    metrics, late = ChainFile(path, ROTATE), ChainFile(late_path(path), ROTATE)
    archive = Archive(client, (KEYS,), metrics, late, 60, waiting)
    while archive.step():
        pass
    metrics.close()
    late.close()


def decide(client: Redis, numbers: range) -> None:
    for number in numbers:
        decision = json.dumps({"task_id": f"t-{number}", **DECISION})
        client.xadd(KEYS.decisions, {"task_id": f"t-{number}", "decision": decision})


def report(client: Redis, *numbers: int) -> None:
    for number in numbers:
        fields = {"task_id": f"t-{number}", "master": "a", "outcome": "success"}
        client.xadd(KEYS.outcomes, cast("Any", fields))


def prepare(client: Redis, path: Path) -> None:
    """Some lines, one decision that waits with an outcome behind it, then more of everything."""
    client.flushall()
    shutil.rmtree(path.parent, ignore_errors=True)
    decide(client, range(6))
    report(client, 0, 1, 2, 4, 1)
    archive(client, path)
    decide(client, range(6, 14))
    report(client, 3, *range(5, 11), 6, 0)


def check(client: Redis, path: Path) -> None:
    lines = [json.loads(line) for line in read_lines(path)]
    late = [json.loads(line) for line in read_lines(late_path(path))]
    assert [each["task_id"] for each in lines] == [f"t-{n}" for n in range(14)]
    heard = [each["outcome_entry"] for each in (*lines, *late) if "outcome" in each]
    entries = cast("Any", client.xrange(KEYS.outcomes))
    assert sorted(heard) == sorted(entry.decode() for entry, _ in entries)
    assert [each["task_id"] for each in late] == ["t-1", "t-6", "t-0"]
    heads = read_heads(client, KEYS)
    for file in (path, late_path(path)):
        assert verify(read_lines(file), end=heads[file.name]).fault is None


def main(url: str, folder: Path) -> None:
    path = folder / "metrics" / "metrics.jsonl"
    client = connect(url, role="test")

    def work() -> None:
        archive(connect(url, role="killed"), path)

    prepare(client, path)
    changes = Interrupted.count(work)
    calls: Counter[str] = Counter()
    for point in range(1, changes + 1):
        prepare(client, path)
        with Interrupted(work, point) as killed:
            calls[killed.call] += 1
        archive(client, path)
        archive(client, path, waiting=0)
        check(client, path)
    sys.stdout.write(msgspec.json.encode(calls).decode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
