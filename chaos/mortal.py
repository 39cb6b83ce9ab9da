"""`cortex worker` that dies, or fails, where it is told: `python -m chaos.mortal`.

It is the real worker on connections that know what they carry. `doomed` says at which of the
`POINTS` of its loop it kills itself, and at which passing of it. Tasks can harm it too, by their
description: `DEADLY` kills it, `failing(n)` raises an error nobody thought of, n times a process.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import redis

from contracts.parse import parse_task
from streams import scripts
from streams.connect import connect
from worker import app, handle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contracts.messages import Task

MORTAL = (sys.executable, "-m", "chaos.mortal")

POINTS = (
    "join before",
    "read sent",
    "read answered",
    "settle before",
    "settle sent",
    "settle answered",
    "claim sent",
    "claim answered",
    "renew sent",
    "leave sent",
)
"""A step of the loop, and whether before its request is sent, before its reply is read, or after.

What was read and settled counts only where it was not nothing.
"""

DEADLY = "this task kills its worker"
_FAILING = re.compile(rb"this task fails (\d+) times")
_NAP = 0.4  # seconds a task: more than a third of a lease of the fleet's
_SCRIPTS = {scripts.source(name)[1]: name for name in ("join", "settle", "renew", "leave")}
_COMMANDS = {"XREADGROUP": "read", "XCLAIM": "claim"}


def doomed(point: str, passing: int) -> dict[str, str]:
    """Environment of a worker that dies at a point, at the n-th passing."""
    return {"CHAOS_DIES_AT": point, "CHAOS_PASSING": str(passing)}


def failing(times: int) -> str:
    """Description of a task that so often raises an error in the same worker."""
    return f"this task fails {times} times"


@dataclass
class Doom:
    """Where a process ends.

    Attributes:
        point: one of `POINTS`; nothing for never.
        left: passings until it dies.
    """

    point: str
    left: int

    def passed(self, point: str) -> None:
        """Die, if this is the point."""
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        elif point == "settle answered" and self.point.startswith("leave"):
            signal.raise_signal(signal.SIGTERM)


class MortalConnection(redis.UnixDomainSocketConnection):
    """A connection that tells the process's doom of every step it carries."""

    doom = Doom("", 0)
    _step: str | None = None

    def send_command(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 (redis-py's own)
        """Send a command, with a point on either side."""
        step = _SCRIPTS.get(args[1]) if args[0] == "EVALSHA" else _COMMANDS.get(args[0])
        self.doom.passed(f"{step} before")
        super().send_command(*args, **options)  # type: ignore[no-untyped-call] # redis-py
        self.doom.passed(f"{step} sent")
        self._step = step

    def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 (redis-py's own)
        """Read a reply, with a point after it."""
        reply = super().read_response(*args, **options)
        step, self._step = self._step, None
        if reply:
            self.doom.passed(f"{step} answered")
        return reply


def connect_mortally(url: str | None = None, **options: Any) -> redis.Redis:  # noqa: ANN401 (as `connect` takes them)
    """Connect as `streams.connect` does, by connections that know what they carry."""
    client = connect(url, **options)
    pool = client.connection_pool
    pool.disconnect()
    pool.reset()
    pool.connection_class = MortalConnection
    return client


@dataclass
class Parser:
    """Parses tasks as a worker does, and suffers from those that harm it."""

    nap: float
    met: Counter[bytes] = field(default_factory=Counter)

    def __call__(self, fields: Mapping[bytes, bytes]) -> Task:
        """Parse a task, if it lets us."""
        time.sleep(self.nap)
        text = fields.get(b"description", b"")
        if text == DEADLY.encode():
            os.kill(os.getpid(), signal.SIGKILL)
        if fails := _FAILING.fullmatch(text):
            self.met[text] += 1
            if self.met[text] <= int(fails[1]):
                raise RuntimeError(f"for the {self.met[text]}. time")
        return parse_task(fields)


def main() -> int:
    """Run a worker until its end; returns the exit code if it comes to that."""
    point = os.environ.get("CHAOS_DIES_AT", "")
    MortalConnection.doom = Doom(point, int(os.environ.get("CHAOS_PASSING", "1")))
    parser = Parser(_NAP if point.startswith("renew") else 0.0)
    with (
        mock.patch.object(app, "connect", connect_mortally),
        mock.patch.object(handle, "parse_task", parser),
    ):
        return app.main()


if __name__ == "__main__":
    sys.exit(main())
