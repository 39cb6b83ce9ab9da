"""How soon a rollback is everywhere while tasks flow, and whether it costs any of them.

`python -m bench.rollback [--rate N] [--workers N] [--rounds N] [--json]`. Tasks arrive at a steady
rate; the packaged model decides half of them. In every round an operator's `cortex rollout
rollback` takes them all from it, and `cortex rollout stage half` gives them back. The write is when
the server says it was, in `control:log`; so is the last decision under an older version.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from bench.contenders import CORTEX, Contender
from bench.process import running
from bench.report import show, table
from bench.server import server
from chaos.live_rollout import (
    Load,
    changed_at,
    configurations,
    followed_after,
    mixed,
    settled,
)
from contracts.messages import RolloutConfig
from streams.connect import connect
from streams.keys import Keys

if TYPE_CHECKING:
    from redis import Redis

KEYS = Keys()
FRESH = RolloutConfig(enable_rag=False)
APART_S = 2.0  # longer than a change may take to be followed
PATIENCE_S = 120.0


class WrongError(Exception):
    """A task was decided twice, never, or under several versions."""


class Rollback(NamedTuple):
    """One rollback.

    Attributes:
        version: it made.
        begun: when the operator pressed Enter, in seconds since the epoch.
        command_s: until the command had ended.
        cpu_s: time of a core that it took.
    """

    version: int
    begun: float
    command_s: float
    cpu_s: float


def cortex_rollout(url: str, *command: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "ops.cli", "rollout", *command, "--json"],
        env={**os.environ, "REDIS_URL": url},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def roll_back(client: Redis, url: str) -> Rollback:
    cortex_rollout(url, "stage", "half")
    time.sleep(APART_S)
    begun, cpu_s = time.time(), children_cpu_s()
    cortex_rollout(url, "rollback")
    took, cpu_s = time.time() - begun, children_cpu_s() - cpu_s
    version = int(client.hget(KEYS.rollout, "version") or 0)
    time.sleep(APART_S)
    return Rollback(version, begun, took, cpu_s)


def await_decisions(client: Redis, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while client.xlen(KEYS.decisions) < count:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def spread(seconds: list[float]) -> dict[str, float]:
    return {"p50": statistics.median(seconds), "max": max(seconds)}


def figures(client: Redis, sent: list[str], rollbacks: list[Rollback]) -> dict[str, object]:
    decided = settled(client, KEYS)
    configs = configurations(client, KEYS, FRESH)
    if Counter(each.decision.task_id for each in decided) != Counter(sent):
        raise WrongError
    if wrong := [why for each in decided if (why := mixed(each.decision, configs))]:
        raise WrongError(wrong[0])
    made = changed_at(client, KEYS)
    followed = [followed_after(decided, each.version, made[each.version]) for each in rollbacks]
    return {
        "tasks": len(sent),
        "neural": sum(each.decision.method == "neural" for each in decided),
        "followed_s": spread(followed),
        "command_s": spread([each.command_s for each in rollbacks]),
        "cpu_s": spread([each.cpu_s for each in rollbacks]),
        "altogether_s": spread(
            [
                made[each.version] + waited - each.begun
                for each, waited in zip(rollbacks, followed, strict=True)
            ]
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="tasks a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    environment = CORTEX.environment | {"ENABLE_NEURAL": "true"}
    worker = Contender("worker", (), CORTEX.worker, 0, environment)
    with server() as url, connect(url) as client, ExitStack() as stack:
        for _ in range(options.workers):
            stack.enter_context(running(worker, url))
        cortex_rollout(url, "stage", "half")
        load = Load(client, KEYS, options.rate)
        with load.flowing():
            await_decisions(client, 5 * options.rate)
            rollbacks = [roll_back(client, url) for _ in range(options.rounds)]
        await_decisions(client, len(load.sent))
        measured = figures(client, load.sent, rollbacks)
    rows = [
        (what, *(f"{value:.2f}" for value in measured[name].values()))  # type: ignore[attr-defined] # spreads
        for what, name in (
            ("from the write to the last decision that did not know of it", "followed_s"),
            ("`cortex rollout rollback`, from Enter to its end", "command_s"),
            ("time of a core that the command took", "cpu_s"),
            ("from Enter to the last decision that did not know of it", "altogether_s"),
        )
    ]
    header = (f"{options.rounds} rollbacks at {options.rate} tasks/s, seconds", "p50", "max")
    markdown = table(header, rows) + (
        f"\n\nEach of {measured['tasks']} tasks was decided once and under one version; the model"
        f" decided {measured['neural']} of them."
    )
    show(measured, markdown, as_json=options.json)


if __name__ == "__main__":
    main()
