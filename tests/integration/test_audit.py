from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cortex_program import cortex
from decisions import decision, publish

from rollout.archive import Archive
from rollout.archive_file import ChainFile
from rollout.archive_settings import late_path
from streams.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

KEYS = Keys()


@pytest.fixture
def path(redis_client: Redis, tmp_path: Path) -> Path:
    """A metrics file of 30 lines, put aside after every ten."""
    path = tmp_path / "metrics.jsonl"
    for first in range(0, 30, 5):
        publish(redis_client, KEYS.decisions, [decision(f"t-{n}") for n in range(first, first + 5)])
        metrics, late = ChainFile(path, 5_000), ChainFile(late_path(path), 5_000)
        archive = Archive(redis_client, (KEYS,), metrics, late, wait_s=60, waiting=1)
        report(redis_client, range(first, first + 5))
        archive.step()
        metrics.close()
        late.close()
    return path


def report(client: Redis, numbers: range) -> None:
    for number in numbers:
        client.xadd(
            KEYS.outcomes,
            {"task_id": f"t-{number}", "master": "development-master", "outcome": "success"},
        )


def verify(url: str, *args: str) -> tuple[int, dict[str, Any]]:
    done = cortex(url, "audit", "verify", "--json", *args)
    return done.returncode, json.loads(done.stdout)["chains"][0]


def test_what_was_written_is_right(redis_url: str, path: Path) -> None:
    code, chain = verify(redis_url, str(path))
    assert (code, chain["ok"], chain["lines"], chain["fault"]) == (0, True, 30, None)
    assert chain["files"] == len([*path.parent.glob("metrics.*jsonl")]) == 4
    assert (
        "30 lines, as they were written" in cortex(redis_url, "audit", "verify", str(path)).stdout
    )


def test_the_first_wrong_line_is_named_with_its_file(redis_url: str, path: Path) -> None:
    second = path.with_name("metrics.000002.jsonl")
    lines = second.read_bytes().splitlines(keepends=True)
    changed = lines[2].replace(b'"confidence":0.75', b'"confidence":0.99')
    second.write_bytes(b"".join([*lines[:2], changed, *lines[3:]]))
    code, chain = verify(redis_url, str(path))
    number = len(path.with_name("metrics.000001.jsonl").read_bytes().splitlines()) + 3
    assert code == 1
    assert (chain["fault"]["kind"], chain["fault"]["line"]) == ("changed", number)
    assert chain["fault"]["file"] == str(second)
    shown = cortex(redis_url, "audit", "verify", str(path))
    assert shown.returncode == 1
    assert f"CHANGED ({second}): line {number}" in shown.stdout


def test_a_cut_end_is_noticed_by_the_server_alone(redis_url: str, path: Path) -> None:
    newest = path.with_name("metrics.000003.jsonl")
    lines = newest.read_bytes().splitlines(keepends=True)
    newest.write_bytes(b"".join(lines[:-1]))
    code, chain = verify(redis_url, str(path))
    assert (code, chain["fault"]["kind"], chain["fault"]["line"]) == (1, "cut", 30)
    assert verify(redis_url, str(path), "--offline")[0] == 0


def test_a_whole_file_that_is_gone_is_missed_unless_it_was_given_up(
    redis_url: str, path: Path
) -> None:
    path.with_name("metrics.000001.jsonl").unlink()
    code, chain = verify(redis_url, str(path))
    assert (code, chain["fault"]["kind"], chain["fault"]["line"]) == (1, "missing", 1)
    assert verify(redis_url, str(path), "--pruned")[0] == 0


def test_no_file_is_no_success(redis_client: Redis, redis_url: str, tmp_path: Path) -> None:
    assert redis_client.ping()
    done = cortex(redis_url, "audit", "verify", str(tmp_path / "nothing.jsonl"))
    assert done.returncode == 1
    assert "there is no" in done.stderr
