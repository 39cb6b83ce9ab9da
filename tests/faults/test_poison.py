"""A task that kills every worker it meets takes no neighbour along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from streams.keys import Keys
from tests.faults.fragile_worker import DEADLY
from tests.system import running, wait_until

if TYPE_CHECKING:
    import redis

KEYS = Keys()
PROGRAM = Path(__file__).with_name("fragile_worker.py")


def start(url: str, *name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAM), url, *name], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("name", [(), ("of-its-predecessor",)])
def test_a_deadly_task_runs_out_of_deliveries_alone(
    redis_client: redis.Redis, redis_url: str, name: tuple[str, ...]
) -> None:
    for n in range(60):
        text: str | bytes = DEADLY if n in {7, 31} else f"fix bug {n}"
        redis_client.xadd(KEYS.tasks, {"task_id": f"t-{n}", "description": text})
    workers = [start(redis_url, *name)]
    deaths = 0
    with running(workers):

        def revived() -> bool:
            nonlocal deaths
            if workers[0].poll() is not None:
                deaths += 1
                workers[0] = start(redis_url, *name)
            return redis_client.xlen(KEYS.dead) == 2 and redis_client.xlen(KEYS.decisions) == 58

        wait_until(revived, 60, "two dead letters and all neighbours decided")
    letters = [fields for _, fields in redis_client.xrange(KEYS.dead)]
    assert {letter[b"reason"] for letter in letters} == {b"too_many_deliveries"}
    assert {orjson.loads(letter[b"payload"])["task_id"] for letter in letters} == {"t-7", "t-31"}
    assert deaths in {9, 10}  # the first may strike while the worker holds both
    decisions = [orjson.loads(f[b"decision"]) for _, f in redis_client.xrange(KEYS.decisions)]
    assert max(decision["attempt"] for decision in decisions) <= 4
