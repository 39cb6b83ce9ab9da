"""A chain of lines on disk: one file that grows, and older ones with numbers.

What was appended is durable, or nothing of it is there: a line that was torn by a crash is cut off
when the file is next opened for writing, one that the disk refused at once.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from contracts.errors import FatalError, TransientError
from rollout.chain import Head, append, read_link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BLOCK: Final = 1 << 16


def older_files(path: Path) -> list[Path]:
    """Return the files that were put aside, the oldest first."""
    return [file for _number, file in sorted(_numbered(path).items())]


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield every line of a chain, the oldest first, also while it is written and put aside.

    A line at the very end without a line end is one that is being written, or was torn.

    Raises:
        OSError: a file cannot be read.
    """
    with suppress(FileNotFoundError), path.open("rb") as newest:
        own = os.fstat(newest.fileno()).st_ino
        for each in older_files(path):
            with each.open("rb") as older:
                if os.fstat(older.fileno()).st_ino != own:
                    yield from older
        yield from (line for line in newest if line.endswith(b"\n"))
        return
    for each in older_files(path):
        with each.open("rb") as older:
            yield from older


def read_backward(path: Path) -> Iterator[bytes]:
    """Yield every line of a chain, the newest first; nobody may write meanwhile.

    Raises:
        OSError: a file cannot be read.
    """
    for each in (path, *reversed(older_files(path))):
        with suppress(FileNotFoundError), each.open("rb") as file:
            yield from _backward(file)


class ChainFile:
    """A chain open for writing, by this process alone.

    Attributes:
        path: the file that grows.
        head: the end of the chain, durable.
    """

    def __init__(self, path: Path, rotate_bytes: int) -> None:
        """Open a chain or begin one; what was torn at its end is cut off.

        Args:
            path: the file that grows; its folder is made.
            rotate_bytes: where it is as large, it is put aside and another begun.

        Raises:
            FatalError: the file cannot be written, someone else writes it, or its last line is no
                line of a chain.
        """
        self.path, self._rotate_bytes = path, rotate_bytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Beside the file, which is renamed under whoever holds it.
            self._lock = path.with_name(f".{path.name}.lock").open("ab")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._lock.close()
                raise FatalError(f"{path}: another archiver writes it") from error
            self._open()
            self._cut_torn()
        except OSError as error:
            raise FatalError(f"cannot write {path}: {error.strerror}") from error
        self.head = self._last()

    def append(self, records: Iterable[bytes]) -> None:
        """Add records as lines; they are on disk when this returns, or none of them is.

        Raises:
            TransientError: the disk refused; nothing has changed.
        """
        head, lines = self.head, []
        for record in records:
            line, head = append(head, record)
            lines.append(line)
        if not lines:
            return
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._undo()
            raise TransientError(f"cannot write {self.path}: {error.strerror}") from error
        self.head = head
        self._size = self._file.tell()
        if self._size >= self._rotate_bytes:
            self._rotate()

    def skip_to(self, head: Head) -> None:
        """Go on after lines that are gone: they will be missed for ever, the next ones count."""
        self.head = head

    def close(self) -> None:
        """Let others write it."""
        self._file.close()
        self._lock.close()

    def _open(self) -> None:
        self._file: BinaryIO = self.path.open("ab")
        self._size = self._file.tell()
        _sync_folder(self.path.parent)

    def _cut_torn(self) -> None:
        """Cut off what stands after the last line end."""
        if not self._size:
            return
        with self.path.open("rb") as file:
            torn = len(next(_pieces(file)))
        if torn:
            self._size -= torn
            self._file.truncate(self._size)
            os.fsync(self._file.fileno())

    def _undo(self) -> None:
        """Take back what was written in part."""
        with suppress(OSError):  # closing writes what is left in the buffer: refused again
            self._file.close()
        try:
            os.truncate(self.path, self._size)
            self._open()
        except OSError as error:
            raise FatalError(f"cannot write {self.path}: {error.strerror}") from error

    def _rotate(self) -> None:
        number = max(_numbered(self.path), default=0) + 1
        aside = self.path.with_name(f"{self.path.stem}.{number:06d}{self.path.suffix}")
        try:
            self.path.rename(aside)
        except OSError:
            return  # it grows beyond its size, and is put aside another time
        self._file.close()
        self._open()

    def _last(self) -> Head:
        line = next(read_backward(self.path), None)
        if line is None:
            return Head()
        link = read_link(line)
        if link is None or not link.sound:
            raise FatalError(
                f"{self.path} ends with a line that was changed; see cortex audit verify, then"
                " move the file away"
            )
        return Head(link.number, link.hash)


def _backward(file: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines, the last one first; what stands after the last line end is none."""
    pieces = _pieces(file)
    next(pieces)
    for piece in pieces:
        yield piece + b"\n"


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield what stands between line ends, from the end; first what stands after the last."""
    at, rest = file.seek(0, os.SEEK_END), b""
    while at:
        begun, at = at, max(0, at - _BLOCK)
        file.seek(at)
        rest, *pieces = (file.read(begun - at) + rest).split(b"\n")
        yield from reversed(pieces)
    yield rest


def _numbered(path: Path) -> dict[int, Path]:
    pattern = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{6,}}){re.escape(path.suffix)}")
    return {
        int(match[1]): each
        for each in (path.parent.iterdir() if path.parent.is_dir() else ())
        if (match := pattern.fullmatch(each.name))
    }


def _sync_folder(folder: Path) -> None:
    """Make names durable, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
