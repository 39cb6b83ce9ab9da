"""Files that a killed process leaves whole or not at all: syncing, locking, writing beside."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import shutil
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

_UNFINISHED = ".unfinished-"
_LOCK = ".lock"
_POLL_S = 0.02
_BLOCK = 1 << 23  # bytes; searches of this process may wait for who asks for its lock after each


class _Sealed(Struct, forbid_unknown_fields=True):
    sha256: str
    manifest: msgspec.Raw


def encode_sealed(manifest: Struct) -> bytes:
    """Bytes of a manifest with the checksum of itself."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return msgspec.json.encode(_Sealed(hashlib.sha256(content).hexdigest(), msgspec.Raw(content)))


def read_sealed(path: Path) -> bytes:
    """Content of a manifest that was sealed; what it says is yet to be decoded.

    Raises:
        OSError: it cannot be read, or is no plain file.
        ValueError: it does not match its checksum, or is something else.
    """
    with open_plain(path) as file:
        raw = file.read()
    try:
        sealed = msgspec.json.decode(raw, type=_Sealed)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    content = bytes(sealed.manifest)
    if hashlib.sha256(content).hexdigest() != sealed.sha256:
        raise ValueError("it does not match its own checksum")
    return content


def open_plain(path: Path) -> BufferedReader:
    """Open a file that is nothing else: reading a pipe or a device might never end.

    Raises:
        OSError: it cannot be read, or is a link, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        OSError: it cannot be read, or is a link, a pipe or a device.
    """
    digest = hashlib.sha256()
    # Not a bytearray: filling it with zeros takes milliseconds in which nobody can search.
    with open_plain(path) as file, mmap.mmap(-1, _BLOCK) as block, memoryview(block) as view:
        while read := file.readinto(view):
            digest.update(view[:read])
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Have a file or a folder's entries survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(home: Path, seconds: float) -> Iterator[None]:
    """Exclude other writers of a folder; wait, but not for ever, as one may be frozen here.

    Raises:
        BlockingIOError: another one has had it for `seconds`.
    """
    with (home / _LOCK).open("w") as lock:
        _lock(lock.fileno(), seconds)
        yield


@contextmanager
def in_turn(folder: Path, seconds: float) -> Iterator[None]:
    """Do what keeps a machine busy in one process after another.

    A courtesy that protects nothing: who has waited for `seconds`, or cannot lock the folder, goes
    on. It writes nothing, so that readers can take part.

    Args:
        folder: whose turns these are; it may be mounted read-only.
        seconds: to wait at most.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            turn = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, turn)
            _lock(turn, seconds)
        yield


@contextmanager
def unfinished_folder(home: Path, seconds: float) -> Iterator[Path]:
    """Make a folder, locked for as long as its writer lives; gone at the end unless renamed.

    What writers that died have left is removed on the way.

    Args:
        home: where the folder is made.
        seconds: to wait for the lock of `home`.
    """
    folder = home / f"{_UNFINISHED}{secrets.token_hex(4)}"
    with locked(home, seconds):
        _remove_abandoned(home)
        folder.mkdir()
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _lock(descriptor: int, seconds: float) -> None:
    """Lock what is open; BlockingIOError if another one has had it for `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)


def _remove_abandoned(home: Path) -> None:
    for folder in home.glob(f"{_UNFINISHED}*"):
        lock = os.open(folder, os.O_RDONLY)
        try:
            _lock(lock, 0)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
