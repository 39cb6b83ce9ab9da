"""Whether this process lives and whether it is ready, told by file and by HTTP.

Liveness is the loop's own heartbeat and never asks the queue: a server that is down must not get
its workers killed. Readiness is whatever the process says of itself.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import orjson
import structlog

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = structlog.get_logger()


@dataclass
class Health:
    """The heartbeat of one process.

    Attributes:
        status: what `/readyz` reports; the process is ready when every value is true.
        file: touched at most once a second while the loop turns; for probes that look at files.
        details: what `/readyz` says besides; no value of it makes the process unready.
        stale_seconds: without a beat for this long the process counts as hung.
        clock: seconds that never go back.
    """

    status: Callable[[], Mapping[str, bool]]
    file: Path | None = None
    details: Callable[[], Mapping[str, object]] = dict
    stale_seconds: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)
    _touched: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self._last = self.clock()

    def beat(self) -> None:
        """Say that the loop turns.

        Raises:
            FatalError: the file cannot be touched, so that whoever probes it would be misled.
        """
        self._last = self.clock()
        if self.file is not None and self._last - self._touched >= 1.0:
            self._touch(self.file)
            self._touched = self._last

    @property
    def alive(self) -> bool:
        """Whether the loop turned lately."""
        return self.clock() - self._last < self.stale_seconds

    def serve(self, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
        """Answer `/livez` and `/readyz` on a thread; 200 is yes, 503 is no.

        Raises:
            FatalError: the port is taken, or not this user's to take.
        """
        try:
            server = _Server((host, port), _handler(self))
        except OSError as error:
            raise FatalError(f"health: no port {port} on {host}: {error.strerror}") from error
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        return server

    @staticmethod
    def _touch(file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        except OSError as error:
            raise FatalError(f"health: cannot touch {file}: {error.strerror}") from error


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Log in the form of everything else, where the base class prints a traceback."""
        del request
        log.warning("probe failed", client=client_address, exc_info=sys.exception())


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status: Mapping[str, bool]
            details: Mapping[str, object] = {}
            if self.path == "/livez":
                status = {"alive": health.alive}
            elif self.path == "/readyz":
                status = {"alive": health.alive, **health.status()}
                details = health.details()
            else:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            good = all(status.values())
            body = orjson.dumps({"ok": good, **status, **details})
            self.send_response(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing: a probe every few seconds is no news."""

    return Handler
