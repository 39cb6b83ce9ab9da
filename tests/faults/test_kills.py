"""Workers and the server are killed while 20,000 tasks flow; every task ends in one place, once."""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from contracts.errors import TransientError
from router.masters import Masters
from streams.connect import connect
from streams.keys import Keys
from chaos.history import Outputs, violations
from tests.system import RULES_ONLY, running, spawn, wait_until
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import redis

    from chaos.history import Seen

KEYS = Keys()
MASTERS = Masters.parse(Settings().masters_text).names
WORKERS, KILLS = 3, 12
FAST_CLAIMS = {"WORKER_LEASE_MS": "1000", "WORKER_BATCH": "32"}
WORDS = ("fix the login bug", "upgrade openssl", "deploy is red", "list every repository", "hm")


def submit_all(client: redis.Redis, ids: Sequence[str], seen: dict[str, Seen]) -> None:
    """Push every task, again and again until the server confirmed it, as an orchestrator would."""
    for start in range(0, len(ids), 50):
        part = ids[start : start + 50]
        seen.update(dict.fromkeys(part, "unknown"))
        while any(seen[task_id] != "ok" for task_id in part):
            try:
                with client.pipeline(transaction=False) as pipe:
                    for task_id in part:
                        text = WORDS[hash(task_id) % len(WORDS)]
                        pipe.xadd(KEYS.tasks, {"task_id": task_id, "description": text})
                    pipe.execute()
            except (RedisError, TransientError):
                continue
            seen.update(dict.fromkeys(part, "ok"))


def finished(client: redis.Redis) -> int:
    """How many tasks are decided or dead; 0 while the server is away."""
    try:
        return client.xlen(KEYS.decisions) + client.xlen(KEYS.dead)
    except (RedisError, TransientError):
        return 0


def pending(client: redis.Redis) -> int:
    """How many tasks are handed out and not settled."""
    return client.xpending(KEYS.tasks, "workers")["pending"]


@pytest.mark.timeout(180)
def test_nothing_is_lost_or_doubled_when_workers_and_the_server_are_killed(tmp_path: Path) -> None:
    chance = random.Random(seed := random.randrange(2**32))
    print(f"seed {seed}")  # noqa: T201 (shown when the test fails)
    total = 20_000
    client = connect(data_dir=tmp_path / ".cortex")
    # What the server confirmed must survive its kill: this is the durability that promises it.
    client.config_set("appendfsync", "always")
    # Decided tasks stay for the checker to read.
    for key in (*(KEYS.master(name) for name in MASTERS), KEYS.decisions):
        client.xgroup_create(key, "checker", id="0", mkstream=True)

    seen: dict[str, Seen] = {}
    ids = [f"t-{n}" for n in range(total)]
    producer = threading.Thread(target=submit_all, args=(client, ids, seen), daemon=True)
    workers = [spawn("worker", cwd=tmp_path, **RULES_ONLY, **FAST_CLAIMS) for _ in range(WORKERS)]
    with running(workers):
        producer.start()
        for kill in range(KILLS):
            goal = (kill + chance.random()) * total / (KILLS + 1)
            wait_until(lambda goal=goal: finished(client) >= goal, 60, f"{goal:.0f} tasks")
            victim = chance.randrange(WORKERS)
            workers[victim].send_signal(signal.SIGKILL)
            workers[victim].wait()
            workers[victim] = spawn("worker", cwd=tmp_path, **RULES_ONLY, **FAST_CLAIMS)
            if kill == KILLS // 2:
                os.kill(client.info("server")["process_id"], signal.SIGKILL)
        producer.join(60)
        took = wait_until(lambda: finished(client) >= total, 60, "everything is decided")
        took += wait_until(lambda: not pending(client), 60, "nothing is pending")
        outputs = Outputs.read(client, KEYS, MASTERS)
    assert not producer.is_alive()
    assert violations(seen, outputs)[:10] == []
    assert took < 15
