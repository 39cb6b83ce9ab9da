"""The guard of an embedded server: runs it, restarts it, and takes it down after the last user.

Run as a program by `streams.embedded`, by path and with nothing but the standard library, so that
it is up in tens of milliseconds:

    python -I -S _embedded_guard.py DATA_DIR SOCKET SERVER_ARGUMENT...

It detaches into its own session and reports back through its first process, which exits 0 once the
server answers, or 1 with the reason on stderr.

It inherits an open, exclusively locked descriptor of `server.lock`, and so does the server: the
lock is free only when both are gone, whichever of them was killed, so the kernel keeps it at one
server per data directory. Users are the holders of shared locks on `users.lock`; the kernel drops
those at `kill -9` too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path

POLL = 0.1  # seconds between looks at server and users; also how late a crash is noticed
STARTUP_POLL = 0.01
LINGER = 2.0  # seconds without users; spares a restart between two commands of a shell script
RESTARTS, WINDOW = 5, 60.0  # more crashes than this within so many seconds: something is broken
BACKOFF = 0.1  # seconds before the second restart, doubled each time
TERM_PATIENCE = 10.0  # seconds a server may take to flush its log when told to end
LOG_TAIL = 16_384  # bytes of the server's log in which its last words are looked for
LOGS = Path("appendonlydir")
READY = "ready:"
PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process with its parent (Linux); exit if it is gone already.

    KILL, because a server busy in a script does not act on TERM. Little that was acknowledged is
    lost: the append-only file is written before the reply is sent, and the page cache outlives the
    process; only while a sync of the file is under way do writes wait, for two seconds at most.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 -- 10 ms, needed in the child only

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def spawn(argv: list[str]) -> int:
    """Start the server as a child that dies with this process; returns its process id."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent(parent)
        os.execv(argv[0], argv)  # noqa: S606 -- the server's own binary, no shell wanted
    except BaseException as error:  # noqa: BLE001 -- nothing may run on in the forked child
        sys.stderr.write(f"cannot run {argv[0]}: {error}\n")
        sys.stderr.flush()
    os._exit(127)


def answers(path: str) -> bool:
    """Whether the server replies to PING, with anything but that it is still loading its data."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except OSError:
            return False
    return bool(reply) and not reply.startswith(b"-LOADING")


class Guard:
    """Keeps one server alive for as long as it has users."""

    def __init__(self, path: str, argv: list[str], report: int) -> None:
        self._path, self._argv = Path(path), argv
        self._report: int | None = report
        self._users = os.open("users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._crashes: deque[float] = deque(maxlen=RESTARTS + 1)
        self._sizes: dict[str, int] = {}
        self._answered = False  # since its last start
        self._ready = False  # ever
        self._server = 0

    def run(self) -> None:
        """Guard until nobody is left, or until the server cannot be kept up (then raises)."""
        self._start()
        used = time.monotonic()
        try:
            while not self._deserted(used):
                if self._users_present():
                    used = time.monotonic()
                self._revive()
                if not self._answered and answers(str(self._path)):
                    self._answered = self._ready = True
                    damage = self._damage()
                    log(damage or "server answers")
                    self.tell(READY + damage)
                time.sleep(POLL if self._answered else STARTUP_POLL)
        finally:
            self._stop()

    def _start(self) -> None:
        self._answered = False
        self._sizes = {each.name: each.stat().st_size for each in LOGS.glob("*")}
        if self._sizes and not any(LOGS.glob("*.manifest")):
            # The server would begin anew, and mix the old data in at its next start.
            raise SystemExit(f"the manifest of {', '.join(sorted(self._sizes))} is missing")
        self._server = spawn(self._argv)
        log(f"server {self._server} started")

    def _damage(self) -> str:
        """What the server could not load of its log, though it started; nothing if it was whole.

        A write that was under way when power was lost ends in the middle: these few bytes were not
        synced. But the server takes a damaged length for such an end, too, and drops what follows.
        """
        for line in self._warnings(self._server):
            if cut := re.search(r"Truncating the AOF (\S+) at offset (\d+)", line):
                name, offset = cut.groups()
                dropped = self._sizes[name] - int(offset)
                return f"{name} ended in the middle of a write: dropped {dropped} bytes"
            if "AOF-loading" in line:
                return "its log is damaged, some writes were skipped; see valkey.log"
        return ""

    def _warnings(self, pid: int) -> list[str]:
        """What a server process wrote to its log as warnings (` # `), of the log's end."""
        with contextlib.suppress(OSError), Path("valkey.log").open("rb") as log_file:
            log_file.seek(max(0, log_file.seek(0, os.SEEK_END) - LOG_TAIL))
            lines = log_file.read().decode(errors="replace").splitlines()
            own = (line.partition(" # ") for line in lines if line.startswith(f"{pid}:"))
            return [said for _, mark, said in own if mark]
        return []

    def _users_present(self) -> bool:
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._users, fcntl.LOCK_UN)
        return False

    def _deserted(self, used: float) -> bool:
        """Whether to go. The users' lock then stays taken: who comes now waits and starts anew."""
        if self._removed():
            log("the directory was removed")
            return True
        if time.monotonic() - used < LINGER:
            return False
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        log("no user left")
        return True

    def _removed(self) -> bool:
        return os.fstat(self._users).st_nlink == 0

    def _revive(self) -> None:
        """Restart the server if it ended; raises SystemExit if that is of no use."""
        pid, status = os.waitpid(self._server, os.WNOHANG)
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        log(f"server {pid} ended with {code}")
        self._server = 0
        if not self._ready:
            said = f": {lines[-1]}" if (lines := self._warnings(pid)) else ""
            raise SystemExit(f"the server ended with {code} before it was ready{said}")
        now = time.monotonic()
        self._crashes.append(now)
        recent = sum(now - crash < WINDOW for crash in self._crashes)
        if recent > RESTARTS:
            raise SystemExit(f"the server ended {recent} times within {WINDOW:.0f} s")
        if recent > 1:
            time.sleep(BACKOFF * 2 ** (recent - 2))
        self._start()

    def tell(self, message: str) -> None:
        """Report `READY` and what is to be known, or why not, to whoever asked for the server.

        Later calls do nothing.
        """
        if self._report is not None:
            # Who asked may be gone already.
            with contextlib.suppress(BrokenPipeError), os.fdopen(self._report, "wb") as report:
                report.write(message.encode())
            self._report = None

    def _stop(self) -> None:
        """End the server: by TERM, on which it syncs its append-only file, or by KILL if it hangs.

        Where the directory was removed there is nothing to save, and the socket's name, which the
        server unlinks on TERM, may be that of the next server already.
        """
        if not self._server:
            return
        os.kill(self._server, signal.SIGKILL if self._removed() else signal.SIGTERM)
        deadline = time.monotonic() + TERM_PATIENCE
        while not os.waitpid(self._server, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                os.kill(self._server, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(STARTUP_POLL)
        with contextlib.suppress(OSError):  # the data directory itself is not empty and stays
            self._path.parent.rmdir()
        log("server stopped")


def log(message: str) -> None:
    """One line in the guard's log (its stderr)."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {os.getpid()} {message}\n")
    sys.stderr.flush()


def detach() -> int:
    """Go on in a new session; returns the descriptor on which to report `ready` or a reason.

    The first process stays behind until that report, and exits with it.
    """
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as reports:
            message = reports.read().decode()
        if message.startswith(READY):
            sys.stderr.write(message.removeprefix(READY))
            raise SystemExit(0)
        raise SystemExit(message or "the guard was killed")
    os.close(reading)
    os.setsid()
    log_file = os.open("guard.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(log_file, 2)
    return writing


def main(directory: str, path: str, *argv: str) -> None:
    """Entry point; see the module's docstring."""
    os.chdir(directory)
    report = detach()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard = Guard(path, list(argv), report)
    try:
        guard.run()
    except SystemExit as end:
        if end.code:
            log(str(end.code))
            guard.tell(str(end.code))
            sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
