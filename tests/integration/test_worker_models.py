"""Models change under worker processes while tasks flow; every process and every folder is real.

What that costs the tasks is measured by `bench.model_swap`: latencies while other tests run say
nothing. That none waits for a model to open is tried in `test_live_models.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.messages import Decision, Shadow
from contracts.parse import parse_decision
from registry.registry import Registry
from streams.connect import connect
from streams.keys import Keys
from tests.router_models import write_model
from tests.system import free_port, running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

KEYS = Keys()
NO_CONTEXT = {"ENABLE_RAG": "false", "AB_TEST_PERCENTAGE": "0.5"}
EVERY = 0.01  # seconds between tasks
FOLLOWED = timedelta(seconds=1)  # in which a rollback must have reached every worker


class Flow:
    """Tasks at a steady rate, and the decisions on them."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.sent = 0
        self._position = "-"
        self._decided: list[Decision] = []
        self._stopping = threading.Event()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    @property
    def decisions(self) -> list[Decision]:
        for entry_id, fields in self.client.xrange(KEYS.decisions, min=self._position):
            self._position = f"({entry_id.decode()}"
            self._decided.append(parse_decision(fields[b"decision"]))
        return self._decided

    def until_last(self, count: int, what: str, **wanted: object) -> None:
        """Wait until the last decisions all are as wanted, and from more than one worker."""

        def is_so() -> bool:
            last = self.decisions[-count:]
            return len(last) == count and all(
                getattr(each, name) == value for each in last for name, value in wanted.items()
            )

        wait_until(is_so, 60, what)

    def _flow(self) -> None:
        while not self._stopping.wait(EVERY):
            task = {"task_id": f"t-{self.sent}", "description": f"look after matter {self.sent}"}
            self.client.xadd(KEYS.tasks, task)
            self.sent += 1


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    with connect(data_dir=tmp_path / ".cortex") as made:
        yield made


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The registry that workers in this folder find by themselves."""
    return Registry(tmp_path / ".cortex" / "models")


def add(registry: Registry, favourite: str) -> str:
    folder = registry.root.parent / f"staged-{favourite}"
    write_model(folder, favourite)
    return registry.add(folder)


def test_a_model_is_challenged_promoted_and_rolled_back_under_load(
    client: redis.Redis, registry: Registry, tmp_path: Path
) -> None:
    first = add(registry, "security-master")
    favourite = {first: "security-master"}
    registry.promote(first, who="test")
    flow = Flow(client)
    workers = [spawn("worker", cwd=tmp_path, **NO_CONTEXT, WORKER_NAME=name) for name in "ab"]
    with running(workers):
        with flow.flowing():
            flow.until_last(200, "the first model serves", model_version=first)

            second = add(registry, "inventory-master")
            favourite[second] = "inventory-master"
            registry.challenge(second, who="test")
            opinion = Shadow(
                selected_master="inventory-master", confidence=0.9, model_version=second
            )
            wait_until(
                lambda: (
                    {rounded(each.shadow) for each in flow.decisions[-50:]} == {rounded(opinion)}
                ),
                30,
                "the second is heard in both arms",
            )
            assert {each.ab_test_group for each in flow.decisions[-50:]} == {"control", "treatment"}

            registry.promote(who="test")
            flow.until_last(100, "the second decides", model_version=second)

            registry.rollback(who="test")
            late = datetime.now(UTC) + FOLLOWED
            wait_until(
                lambda: len([each for each in flow.decisions if at(each) > late]) >= 100,
                30,
                "tasks are decided after a second",
            )
        wait_until(lambda: len(flow.decisions) >= flow.sent, 60, "every task is decided")
        assert [terminate(each) for each in workers] == [0, 0]

    decided = flow.decisions
    assert Counter(each.task_id for each in decided) == {f"t-{n}": 1 for n in range(flow.sent)}
    assert client.xlen(KEYS.dead) == 0
    assert {each.model_version for each in decided} == {first, second}
    assert {each.model_version for each in decided if at(each) > late} == {first}
    for each in decided:
        if each.method == "neural":
            assert each.selected_master == favourite[str(each.model_version)]


def at(decision: Decision) -> datetime:
    return datetime.fromisoformat(decision.timestamp)


def rounded(shadow: object) -> tuple[str, float, object] | None:
    """Return an opinion so that it can be compared: probabilities are float32 on the way."""
    if not isinstance(shadow, Shadow):
        return None
    return shadow.selected_master, round(shadow.confidence, 3), shadow.model_version


def test_a_broken_folder_made_champion_by_hand_is_refused_and_the_old_one_serves(
    client: redis.Redis, registry: Registry, tmp_path: Path
) -> None:
    first, second = add(registry, "security-master"), add(registry, "inventory-master")
    registry.promote(first, who="test")
    health = free_port()
    worker = spawn("worker", cwd=tmp_path, **NO_CONTEXT, WORKER_HEALTH_PORT=str(health))

    def refused() -> dict[str, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/readyz") as answer:
            found: dict[str, str] = json.load(answer)["models"]["refused"]
            return found

    with running([worker]):
        flow = Flow(client)
        with flow.flowing():
            flow.until_last(10, "the first model serves", model_version=first)
            head = registry.path(second) / "head.safetensors"
            head.chmod(0o644)
            os.truncate(head, 100)
            aliases = registry.root / "aliases.json"
            aliases.write_text(aliases.read_text().replace(first, second))
            wait_until(lambda: "champion" in refused(), 10, "the broken model is refused")
            flow.until_last(100, "the first model still serves", model_version=first)
        assert "head.safetensors" in refused()["champion"]
    log = (tmp_path / "worker.log").read_text().splitlines()
    assert len([line for line in log if "model refused" in line]) == 1


def test_a_worker_that_needs_no_encoder_loads_none(client: redis.Redis, tmp_path: Path) -> None:
    def has_encoder(worker: subprocess.Popen[bytes]) -> bool:
        return "openvino" in Path(f"/proc/{worker.pid}/maps").read_text()

    rules_only = NO_CONTEXT | {"ENABLE_NEURAL": "false"}
    worker = spawn("worker", cwd=tmp_path, **rules_only)
    with running([worker]):
        client.xadd(KEYS.tasks, {"task_id": "t-0", "description": "fix it"})
        wait_until(lambda: client.xlen(KEYS.decisions) == 1, 20, "decided")
        assert not has_encoder(worker)
    registry = Registry(tmp_path / ".cortex" / "models")
    registry.promote(add(registry, "security-master"), who="test")
    worker = spawn("worker", cwd=tmp_path, **NO_CONTEXT)
    with running([worker]):
        client.xadd(KEYS.tasks, {"task_id": "t-1", "description": "fix it"})
        wait_until(lambda: client.xlen(KEYS.decisions) == 2, 60, "decided")
        assert has_encoder(worker)


def test_without_an_encoder_treatment_is_routed_by_rules_and_says_so(
    client: redis.Redis, registry: Registry, tmp_path: Path
) -> None:
    registry.promote(add(registry, "security-master"), who="test")
    client.xadd(KEYS.tasks, {"task_id": "t-0", "description": "fix the build"})
    broken = {"AB_TEST_PERCENTAGE": "1", "CORTEX_ENCODER": str(tmp_path / "no-such-encoder")}
    worker = spawn("worker", cwd=tmp_path, **NO_CONTEXT | broken)
    with running([worker]):
        wait_until(lambda: client.xlen(KEYS.decisions) == 1, 30, "decided")
    (decision,) = Flow(client).decisions
    assert (decision.method, decision.fallback_reason) == ("rule-based", "embedding_unavailable")
    assert client.xlen(KEYS.dead) == 0


def test_route_asks_the_champion_without_a_server(registry: Registry, tmp_path: Path) -> None:
    registry.promote(add(registry, "inventory-master"), who="test")
    asked = ("route", "--group", "treatment", "--json", "Fix the authentication bug")
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *asked],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "REDIS_URL"},
        capture_output=True,
        timeout=240,
        check=True,
    )
    decision = parse_decision(done.stdout)
    assert (decision.method, decision.selected_master) == ("neural", "inventory-master")
    assert decision.model_version == registry.aliases()["champion"]
    assert not list((tmp_path / ".cortex").glob("redis*"))
