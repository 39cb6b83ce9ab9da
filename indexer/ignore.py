"""What `.gitignore` files leave out, by git's own rules (gitignore(5), wildmatch.c).

Patterns are matched level by level from the root, as git does, because a file cannot be re-included
once a directory above it is left out. Like git's, matching is by bytes: paths and patterns are
matched as Latin-1 strings, one character for each byte.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ALWAYS = frozenset({".git", ".cortex"})
"""Names never looked at, whatever a pattern says."""

DEFAULT_PATTERNS = (
    # Generated, and as large as it is uninformative.
    *("*.min.js", "*.min.css", "*.map"),
    # Secrets: what is indexed travels through Redis and into decisions.
    *(".env", ".env.*", "!.env.example", "*.pem", "*.key", "id_rsa", "id_ed25519"),
)
"""Left out unless a `.gitignore` says `!name`."""

_MAX_BYTES = 1 << 20  # of one .gitignore
_WITHOUT_TRAILING_SPACES = re.compile(r"\A((?:\\.|[^\\])*?) *\Z", re.DOTALL)
_WILDCARD = re.compile(r"[*?\[\\]")
_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t-\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a `.gitignore`.

    Attributes:
        regex: matches a path relative to the file's directory, or a bare name.
        negated: the line begins with `!`.
        directories_only: the line ends with `/`.
        by_name: the line holds no other `/`, so it is matched against the name alone.
    """

    regex: re.Pattern[str]
    negated: bool
    directories_only: bool
    by_name: bool


def parse_patterns(lines: Iterable[str]) -> tuple[Pattern, ...]:
    """Compile the lines of a `.gitignore`; comments and lines git discards are left out."""
    parsed = (_parse(_bytewise(line)) for line in lines)
    return tuple(pattern for pattern in parsed if pattern is not None)


def _bytewise(name: str) -> str:
    """One character for each byte of a file name."""
    return name if name.isascii() else os.fsencode(name).decode("latin-1")


class IgnoreRules:
    """The ignore files of one tree, read as they are needed and once each.

    A view of one moment: make a new one to see changed ignore files.
    """

    def __init__(self, root: Path, extra: Iterable[str] = DEFAULT_PATTERNS) -> None:
        """Rules of the tree at `root`; `extra` patterns yield to every file's."""
        self._root = root
        exclude = _read_lines(root / ".git" / "info" / "exclude")
        self._base = (parse_patterns(extra), parse_patterns(exclude))
        self._files: dict[str, tuple[Pattern, ...]] = {}
        self._hidden: dict[str, bool] = {}

    def hides(self, path: str) -> bool:
        """Whether the file at `path` (relative, `/`) or a directory above it is left out."""
        parent = path.rpartition("/")[0]
        return self._hides_directory(parent) or self.excludes(path, is_dir=False)

    def _hides_directory(self, path: str) -> bool:
        if not path:
            return False
        if path not in self._hidden:
            above = self._hides_directory(path.rpartition("/")[0])
            self._hidden[path] = above or self.excludes(path, is_dir=True)
        return self._hidden[path]

    def excludes(self, path: str, *, is_dir: bool) -> bool:
        """Whether `path` itself is left out, given that no directory above it is."""
        if path.rpartition("/")[2] in ALWAYS:
            return True
        directory = path
        while directory:
            directory = directory.rpartition("/")[0]
            relative = path[len(directory) + 1 :] if directory else path
            verdict = _last_match(self._patterns(directory), relative, is_dir=is_dir)
            if verdict is not None:
                return verdict
        for patterns in reversed(self._base):
            verdict = _last_match(patterns, path, is_dir=is_dir)
            if verdict is not None:
                return verdict
        return False

    def _patterns(self, directory: str) -> tuple[Pattern, ...]:
        if directory not in self._files:
            lines = _read_lines(self._root / directory / ".gitignore")
            self._files[directory] = parse_patterns(lines)
        return self._files[directory]


def _last_match(patterns: tuple[Pattern, ...], path: str, *, is_dir: bool) -> bool | None:
    """What the last matching pattern says; None if none matches."""
    path = _bytewise(path)
    name = path.rpartition("/")[2]
    for pattern in reversed(patterns):
        if pattern.directories_only and not is_dir:
            continue
        if pattern.regex.fullmatch(name if pattern.by_name else path):
            return not pattern.negated
    return None


def _read_lines(path: Path) -> list[str]:
    """Lines of an ignore file; none if it is missing, unreadable or (as for git) a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            data = file.read(_MAX_BYTES)
    except OSError:
        return []
    return data.decode("utf-8-sig", errors="surrogateescape").split("\n")


def _parse(line: str) -> Pattern | None:
    line = line.removesuffix("\n").removesuffix("\r")
    if line.startswith("#"):
        return None
    line = _WITHOUT_TRAILING_SPACES.sub(r"\1", line, count=1)
    negated = line.startswith("!")
    line = line[negated:]
    directories_only = line.endswith("/")
    line = line.removesuffix("/")
    by_name = "/" not in line
    source = _translate(line.removeprefix("/"))
    if not line or source is None:
        return None
    return Pattern(re.compile(source, re.DOTALL), negated, directories_only, by_name)


def _translate(glob: str) -> str | None:
    """The regular expression of a wildmatch pattern; None if it can match nothing."""
    out: list[str] = []
    at = 0
    while at < len(glob):
        char = glob[at]
        if char == "*":
            stars = len(glob) - at - len(glob[at:].lstrip("*"))
            part, at = _stars(glob, at, stars)
        elif char == "?":
            part, at = "[^/]", at + 1
        elif char == "[":
            bracket = _bracket(glob, at + 1)
            if bracket is None:
                return None
            part, at = bracket
        elif char == "\\":
            if at + 1 == len(glob):
                return None
            part, at = re.escape(glob[at + 1]), at + 2
        else:
            part, at = re.escape(char), at + 1
        out.append(part)
    return "".join(out)


def _stars(glob: str, at: int, count: int) -> tuple[str, int]:
    """`*` stays within a name; `**` as a whole name spans any number of them."""
    after = at + count
    # git compares the part before the first wildcard by itself, so what follows begins anew.
    begins = glob[:at].endswith("/") or not _WILDCARD.search(glob[:at])
    whole_name = begins and (after == len(glob) or glob[after] == "/")
    if count < 2 or not whole_name:  # noqa: PLR2004 - two stars
        return "[^/]*", after
    if after == len(glob):
        return ".*", after
    return "(?:.*/)?", after + 1


def _bracket(glob: str, at: int) -> tuple[str, int] | None:
    """A bracket expression from behind its `[`; None if it is not closed or names no class."""
    negated = glob[at : at + 1] in ("!", "^")
    at += negated
    out: list[str] = []
    first = True
    while first or glob[at : at + 1] != "]":
        first = False
        if at >= len(glob):
            return None
        if glob.startswith("[:", at) and (end := glob.find(":]", at)) != -1:
            members = _POSIX_CLASSES.get(glob[at + 2 : end])
            if members is None:
                return None
            out.append(members)
            at = end + 2
            continue
        low, at = _member(glob, at)
        high = low
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(glob, at + 1)
        # A range that runs backwards still matches the character it begins with.
        out.append(f"{re.escape(low)}-{re.escape(max(low, high))}")
    return f"(?!/)[{'^' if negated else ''}{''.join(out)}]", at + 1


def _member(glob: str, at: int) -> tuple[str, int]:
    if glob[at] == "\\" and at + 1 < len(glob):
        at += 1
    return glob[at], at + 1
