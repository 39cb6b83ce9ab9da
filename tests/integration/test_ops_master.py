from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from cortex_program import cortex, start, succeed
from decisions import decision, publish

from contracts.parse import parse_decision, parse_outcome
from streams.keys import Keys
from streams.master import Master

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

NAME = "development-master"
KEYS = Keys()
STREAM = KEYS.master(NAME)


def outcomes(client: Redis) -> list[tuple[str, str]]:
    parsed = [parse_outcome(fields) for _id, fields in client.xrange(KEYS.outcomes)]
    return [(each.task_id, each.outcome) for each in parsed]


def pending(client: Redis) -> int:
    count: int = client.xpending(STREAM, NAME)["pending"]
    return count


def test_take_and_report(redis_client: Redis) -> None:
    publish(redis_client, STREAM, [decision("t-1"), decision("t-2")])
    master = Master(redis_client, NAME)
    for each in master.decisions(wait=False):
        assert master.report(each, "rerouted", correct_master="security-master", files=["a/b.py"])
    assert outcomes(redis_client) == [("t-1", "rerouted"), ("t-2", "rerouted")]
    ((_id, fields), _) = redis_client.xrange(KEYS.outcomes)
    outcome = parse_outcome(fields)
    assert (outcome.correct_master, outcome.files) == ("security-master", ["a/b.py"])
    assert pending(redis_client) == 0


def test_one_that_slept_through_its_lease_reports_nothing(redis_client: Redis) -> None:
    publish(redis_client, STREAM, [decision("t-1")])
    asleep = Master(redis_client, NAME, consumer="asleep", lease_ms=1)
    awake = Master(redis_client, NAME, consumer="awake", lease_ms=1)
    held = next(asleep.decisions())
    taken = next(awake.decisions())
    assert awake.report(taken, "success")
    assert not asleep.report(held, "failed")
    assert outcomes(redis_client) == [("t-1", "success")]


def test_what_is_given_back_is_offered_at_once(redis_client: Redis) -> None:
    publish(redis_client, STREAM, [decision("t-1")])
    first = Master(redis_client, NAME, consumer="first")
    second = Master(redis_client, NAME, consumer="second")
    first.give_back(next(first.decisions()))
    assert next(second.decisions(wait=False)).task_id == "t-1"


def test_a_malformed_decision_becomes_a_dead_letter(redis_client: Redis) -> None:
    redis_client.xadd(STREAM, {"task_id": "t-0", "decision": "{}"})
    redis_client.xadd(STREAM, {"foreign": "entry"})
    publish(redis_client, STREAM, [decision("t-1")])
    master = Master(redis_client, NAME)
    assert [each.task_id for each in master.decisions(wait=False)] == ["t-1"]
    assert redis_client.xlen(KEYS.dead) == 2
    assert pending(redis_client) == 1


@pytest.mark.parametrize(
    ("code", "expected"), [(0, [("t-1", "success")]), (3, [("t-1", "failed")]), (75, [])]
)
def test_the_exit_code_is_the_outcome(
    redis_client: Redis,
    redis_url: str,
    tmp_path: Path,
    code: int,
    expected: list[tuple[str, str]],
) -> None:
    publish(redis_client, STREAM, [decision("t-1", description="a 'quoted' $HOME; exit")])
    seen = tmp_path / "seen.json"
    script = f"import sys; open({str(seen)!r}, 'wb').write(sys.stdin.buffer.read()); exit({code})"
    succeed(redis_url, "master", NAME, "--count", "1", "--exec", f'{sys.executable} -c "{script}"')
    assert parse_decision(seen.read_bytes()).description == "a 'quoted' $HOME; exit"
    assert outcomes(redis_client) == expected
    assert pending(redis_client) == (code == 75)


def test_without_a_command_decisions_are_printed(redis_client: Redis, redis_url: str) -> None:
    publish(redis_client, STREAM, [decision(f"t-{number}") for number in range(3)])
    printed = succeed(redis_url, "master", NAME, "--count", "2").splitlines()
    assert [json.loads(line)["task_id"] for line in printed] == ["t-0", "t-1"]
    assert pending(redis_client) == 0
    assert not redis_client.exists(KEYS.outcomes)


def test_a_command_that_does_not_exist_leaves_the_decision(
    redis_client: Redis, redis_url: str
) -> None:
    publish(redis_client, STREAM, [decision("t-1")])
    done = cortex(redis_url, "master", NAME, "--exec", "/nowhere/program")
    assert (done.returncode, done.stderr) == (
        1,
        "cortex: cannot run /nowhere/program: No such file or directory\n",
    )
    assert next(Master(redis_client, NAME).decisions(wait=False)).task_id == "t-1"
    assert cortex(redis_url, "master", NAME, "--exec", "'").returncode == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_stops_it_and_its_command_quietly(
    redis_client: Redis, redis_url: str, number: signal.Signals, code: int
) -> None:
    publish(redis_client, STREAM, [decision("t-1")])
    sleeper = f'{sys.executable} -c "import time; print(1, flush=True); time.sleep(60)"'
    process = start(redis_url, "master", NAME, "--exec", sleeper)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    began = time.monotonic()
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == code
    assert time.monotonic() - began < 20
    assert next(Master(redis_client, NAME).decisions(wait=False)).task_id == "t-1"
