"""A rollback in earnest, beside the deployment: real worker, real commands, real tasks.

Everything happens under a prefix of its own, on the same server and with the same settings and
models: nothing that serves is touched, and what was made is deleted. Workers and masters of the
deployment never see it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final, cast

import msgspec
from msgspec import Struct

from contracts.errors import FatalError
from contracts.messages import Group, Task
from rollout import commands
from streams import ranges
from streams.partitions import layout
from streams.producer import Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redis import Redis

    from rollout.stages import Plan
    from streams.keys import Keys
    from worker.settings import Settings

WITHIN_S: Final = 1.0  # what is promised of a rollback
_BATCH, _EVERY_S = 5, 0.05  # tasks at once, and between them: a hundred a second
_BEFORE_S, _AFTER_S = 1.0, 2.0  # of load on either side of the rollback
_START_S: Final = 180.0  # a worker that exports its encoder first takes minutes
_DRAIN_S: Final = 30.0
_TEXTS: Final = (
    "Fix the authentication bug in the login form",
    "Upgrade the build pipeline to the new runner",
    "Review the dependency list for known vulnerabilities",
    "Document which repositories are not maintained any more",
    "Plan the work of next week",
)
_WHO: Final = "rollout check"


class Rehearsal(Struct, frozen=True, kw_only=True):
    """What a rollback came to.

    Attributes:
        seconds: from the rollback's entry in the log to the last decision in treatment, by the
            server's clock; 0 where none came after it.
        submitted: tasks.
        decided: of these; each once, or more than `submitted` would be here.
        before: decisions in treatment at all: there was something to roll back.
        after: decisions in control under the new configuration.
    """

    seconds: float
    submitted: int
    decided: int
    before: int
    after: int

    @property
    def passed(self) -> bool:
        """Whether the rollback did what is promised of it."""
        complete = self.decided == self.submitted
        return self.seconds < WITHIN_S and complete and self.before > 0 and self.after > 0


class _Seen(Struct, frozen=True, gc=False):
    ab_test_group: Group
    config_version: int


def rehearse(client: Redis, settings: Settings, plan: Plan) -> Rehearsal:
    """Take a rollout to its last stage and roll it back, under load; takes some seconds.

    Raises:
        FatalError: no worker could be brought up, or it did not keep up.
        redis.RedisError: the server failed.
    """
    prefix = f"{settings.prefix}rehearsal:{token_hex(4)}:"
    parts = layout(prefix, settings.partitions)
    load = _Load(client, parts)
    try:
        commands.enter_stage(
            client, parts[0], plan, plan.names[-1], who=_WHO, why="rehearsal of a rollback"
        )
        with _worker(prefix) as log:
            load.until(lambda: bool(load.decided()), _START_S, log, "a worker decides")
            load.run(_BEFORE_S)
            commands.rollback(client, parts[0], plan, who=_WHO, why="rehearsal")
            load.run(_AFTER_S)
            load.drain(log)
        return _measure(client, parts, load.submitted)
    finally:
        _clean_up(client, prefix)


class _Load:
    """Submits tasks at a steady rate."""

    def __init__(self, client: Redis, parts: Sequence[Keys]) -> None:
        self._client, self._parts = client, parts
        self._producer = Producer(client, parts)
        self.submitted = 0

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._submit()
            time.sleep(_EVERY_S)

    def until(self, reached: Callable[[], bool], seconds: float, log: _Log, what: str) -> None:
        """Submit one task, and wait for something."""
        self._submit()
        _await(reached, seconds, log, what)

    def drain(self, log: _Log) -> None:
        _await(lambda: self.decided() >= self.submitted, _DRAIN_S, log, "all tasks are decided")

    def decided(self) -> int:
        return sum(self._client.xlen(keys.decisions) for keys in self._parts)

    def _submit(self) -> None:
        tasks = [
            Task(task_id=f"rehearsal-{number}", description=_TEXTS[number % len(_TEXTS)])
            for number in range(self.submitted, self.submitted + _BATCH)
        ]
        for each in self._producer.submit(tasks):
            if each.verdict != "ok":
                raise FatalError(f"rehearsal: a task was not taken: {each.error}")
        self.submitted += _BATCH


class _Log:
    """The worker, and what it last said."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self._process, self._path = process, path

    def check(self) -> None:
        if (code := self._process.poll()) is not None:
            last = self._path.read_text(errors="replace").strip().splitlines()[-1:]
            raise FatalError(f"rehearsal: the worker ended with {code}: {' '.join(last)}")


@contextmanager
def _worker(prefix: str) -> Iterator[_Log]:
    own = {
        "CORTEX_PREFIX": prefix,
        "ENABLE_RAG": "false",  # there is no index under this prefix
        "AB_TEST_PERCENTAGE": "0",
        "WORKER_NAME": "",
        "WORKER_HEALTH_PORT": "",  # taken by the worker that serves here
        "WORKER_HEALTH_FILE": "",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "worker.log")
        with path.open("wb") as log:
            process = subprocess.Popen(
                # -P: a folder named like one of our packages in the working directory is not ours.
                [sys.executable, "-P", "-m", "ops.cli", "worker"],
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield _Log(process, path)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(reached: Callable[[], bool], seconds: float, log: _Log, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        log.check()
        if time.monotonic() > deadline:
            raise FatalError(f"rehearsal: not within {seconds:.0f} s: {what}")
        time.sleep(_EVERY_S)


def _measure(client: Redis, parts: Sequence[Keys], submitted: int) -> Rehearsal:
    (written, fields), *_ = ranges.backward(client, parts[0].control_log)
    version = int(fields[b"version"])
    decoder = msgspec.json.Decoder(_Seen)
    entries = [
        (_moment(entry_id), decoder.decode(entry[b"decision"]))
        for keys in parts
        for entry_id, entry in ranges.forward(client, keys.decisions)
    ]
    treated = [at_ms for at_ms, seen in entries if seen.ab_test_group == "treatment"]
    return Rehearsal(
        seconds=max(0, max(treated, default=0) - _moment(written)) / 1_000,
        submitted=submitted,
        decided=len(entries),
        before=len(treated),
        after=sum(
            seen.config_version == version and seen.ab_test_group == "control"
            for _, seen in entries
        ),
    )


def _clean_up(client: Redis, prefix: str) -> None:
    # The prefix is a person's to choose: none of it is a pattern.
    pattern = re.sub(r"([\\*?\[\]^])", r"\\\1", prefix) + "*"
    for key in client.scan_iter(pattern, count=1_000):
        client.unlink(cast("bytes", key))


def _moment(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
