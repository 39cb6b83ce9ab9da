"""Which files of a tree count, and what they say now.

Links are not followed, neither to files nor to directories: what they point at is indexed under its
own name if it lies in the tree, and must not be if it does not.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from contracts import fields
from contracts.errors import PoisonError, TransientError
from indexer.chunk import CHUNKER_VERSION, DEFAULT_MAX_CHARS
from indexer.ignore import DEFAULT_PATTERNS, IgnoreRules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = structlog.get_logger(__name__)

LOCK_FILES = frozenset(
    {
        *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"),
        *("deno.lock", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "Cargo.lock"),
        *("go.sum", "go.work.sum", "Gemfile.lock", "composer.lock", "Podfile.lock"),
        *("Package.resolved", "packages.lock.json", "gradle.lockfile", "mix.lock", "pubspec.lock"),
        *("flake.lock", ".terraform.lock.hcl"),
    }
)
"""Written by package managers. Tasks touch them, but what they say is found in no task: only their
beginning is read, which is enough for a path and past work to lead there."""

_SNIFFED_BYTES = 8192  # git looks for a NUL in the first 8,000 bytes (buffer_is_binary)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG})
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_MAX_REPLACED = 0.05  # share of undecodable characters above which a file is not text


@dataclass(frozen=True, slots=True)
class Rules:
    """Which files count and how they are cut.

    Attributes:
        max_bytes: larger files do not count.
        max_chars: what a chunk aims to stay within; enters the content hash.
        exclude: patterns in `.gitignore` syntax that yield to every `.gitignore`.
    """

    max_bytes: int = 1 << 20
    max_chars: int = DEFAULT_MAX_CHARS
    exclude: tuple[str, ...] = DEFAULT_PATTERNS


@dataclass(frozen=True, slots=True)
class FileContent:
    r"""What a file says.

    Attributes:
        text: decoded as UTF-8 (bytes that are not become U+FFFD), lines separated by `\n`.
        content_hash: SHA-256 hex over how it is cut and the bytes that were read.
    """

    text: str
    content_hash: str


class Tree:
    """The files under one root that count, seen with the ignore files of one moment.

    Make a new one for every batch of work: ignore files are read once.
    """

    def __init__(self, root: Path, rules: Rules) -> None:
        """The tree at `root`.

        Raises:
            TransientError: there is no directory at `root`. It may be unmounted for a while, which
                must not look as if every file had been deleted.
        """
        if not root.is_dir():
            raise TransientError(f"no directory at {root}")
        self.root = root
        self._rules = rules
        self._ignore = IgnoreRules(root, rules.exclude)

    def files(self, under: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Regular files that no ignore rule leaves out, by path relative to the root.

        Whether one holds indexable text, only `read` can say.

        Args:
            under: a directory to stay in, or one file; nothing is yielded if it is neither.
        """
        status = self._status(under) if under else self.root.stat()
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            yield from _counting(under, status)
            return
        pending = [under]
        while pending:
            for path, entry in self._entries(pending.pop()):
                is_dir = entry.is_dir(follow_symlinks=False)
                if self._ignore.excludes(path, is_dir=is_dir):
                    continue
                if is_dir:
                    pending.append(path)
                    continue
                with _forgiving(path):
                    yield from _counting(path, entry.stat(follow_symlinks=False))

    def lacks(self, path: str) -> bool:
        """Whether neither a file nor a directory is at a path that no ignore rule leaves out."""
        if not is_relative(path) or self._ignore.hides(path):
            return False
        mode = 0
        with _forgiving(path):
            mode = os.lstat(self.root / path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))

    def read(self, path: str) -> FileContent | None:
        """What a file says now, or None if it is gone or does not count.

        Never leaves the root, whatever `path` holds: each step is opened without following links.

        Args:
            path: relative to the root, `/` separators, as an untrusted event names it.

        Raises:
            TransientError: the disk failed; nothing is known about the file.
        """
        if not is_relative(path) or self._ignore.hides(path):
            return None
        data = None
        with _forgiving(path):
            if path.rpartition("/")[2] in LOCK_FILES:
                data = _read_regular(self.root, path, self._rules.max_chars, cut=True)
            else:
                data = _read_regular(self.root, path, self._rules.max_bytes)
        text = None if data is None else _decode(data)
        if data is None or text is None:
            return None
        return FileContent(text, _content_hash(data, self._rules))

    def _status(self, path: str) -> os.stat_result | None:
        """Status of what is at `path`; None if it is ignored or not reached without a link."""
        if not is_relative(path):
            return None
        parts = path.split("/")
        with _forgiving(path):
            for depth in range(1, len(parts) + 1):
                step = "/".join(parts[:depth])
                status = os.lstat(self.root / step)
                is_dir = stat.S_ISDIR(status.st_mode)
                if self._ignore.excludes(step, is_dir=is_dir):
                    return None
                if depth == len(parts):
                    return status
                if not is_dir:
                    return None
        return None

    def _entries(self, directory: str) -> list[tuple[str, os.DirEntry[str]]]:
        found: list[os.DirEntry[str]] = []
        with _forgiving(directory), os.scandir(self.root / directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        return [(f"{directory}/{each.name}" if directory else each.name, each) for each in found]


def is_relative(path: str) -> bool:
    """Whether `path` is a plain relative path that a file change can name."""
    try:
        fields.path(path, "path")
    except PoisonError:
        return False
    return _is_utf8(path)


def _counting(path: str, status: os.stat_result) -> Iterator[tuple[str, os.stat_result]]:
    if not stat.S_ISREG(status.st_mode):
        return
    if is_relative(path):
        yield path, status
    else:
        log.warning("file_skipped", path=ascii(path), reason="no file change can name it")


@contextmanager
def _forgiving(path: str) -> Iterator[None]:
    """Let a file or directory be gone or unreadable.

    Raises:
        TransientError: the disk failed in some other way.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DENIED:
            log.warning("path_skipped", path=ascii(path), reason=error.strerror)
        elif error.errno not in _GONE:
            raise TransientError(f"cannot read {path}: {error.strerror}") from error


def _read_regular(root: Path, path: str, max_bytes: int, *, cut: bool = False) -> bytes | None:
    """Bytes of a regular file of at most `max_bytes`, reached without following a link below root.

    Of a larger one there are none, or only the whole lines of its beginning, if it is to be cut.

    Raises:
        OSError: it is missing, unreadable, or a link (ELOOP).
    """
    *parents, name = path.split("/")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: FIFOs
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for parent in parents:
            below = os.open(parent, flags | os.O_DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return None  # opening a device can have effects of its own
        descriptor = os.open(name, flags, dir_fd=directory)
    finally:
        os.close(directory)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = file.read(max_bytes + 1) if regular else None
    if data is None or len(data) <= max_bytes:
        return data
    return data[: data.rfind(b"\n", 0, max_bytes) + 1 or max_bytes] if cut else None


def _decode(data: bytes) -> str | None:
    """The text of a file, or None if it is binary."""
    if b"\0" in data[:_SNIFFED_BYTES]:
        return None
    text = data.decode("utf-8-sig", errors="replace")
    if text.count("\ufffd") > _MAX_REPLACED * len(text):
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _content_hash(data: bytes, rules: Rules) -> str:
    digest = hashlib.sha256(f"{CHUNKER_VERSION}:{rules.max_chars}\0".encode())
    digest.update(data)
    return digest.hexdigest()


def _is_utf8(path: str) -> bool:
    """Whether the name is text; other bytes reach Python as lone surrogates (PEP 383)."""
    return path.isascii() or not any("\ud800" <= char <= "\udfff" for char in path)
