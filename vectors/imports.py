"""Whether an import statement means a file, and which files are a pair. Pure: paths only."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUFFIXES = {
    "python": ".py .pyi .pyw",
    "script": ".js .mjs .cjs .jsx .ts .mts .cts .tsx .vue .svelte",
    "go": ".go",
    "jvm": ".java .kt .kts .scala .groovy",
    "rust": ".rs",
    "ruby": ".rb .rake .ru .gemspec",
    "c": ".c .h .cc .cpp .cxx .hpp .hh .hxx .inl .m .mm",
    "shell": ".sh .bash .zsh .ksh .bats",
    "php": ".php .phtml",
}
FAMILIES = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
"""Of languages that import one another, by suffix."""
_ENTRIES = frozenset({"__init__", "index", "mod", "lib"})  # stand for their folder
_TEST_FOLDERS = frozenset({"test", "tests", "spec", "specs", "__tests__"})
_TEST_NAME = re.compile(
    r"^(?:tests?[_-])?(.+?)(?:[_.-](?:tests?|spec)|(?<=[a-z0-9])(?:Tests?|Spec|IT))?$"
)


class Reference(NamedTuple):
    """What an import statement names.

    Attributes:
        parts: folders and name, without a suffix.
        anchor: folder it is relative to; None where any folder may come before.
        suffix: that the file must have, with its dot; empty where any of the language will do.
        package: whether a folder is meant, and any file in it.
    """

    parts: tuple[str, ...]
    anchor: str | None = None
    suffix: str = ""
    package: bool = False

    def means(self, path: str) -> bool:
        """Whether a file is what is named."""
        target = _split(path)
        if self.package:
            folder = target.folder
            return bool(folder) and self.parts[-len(folder) :] == folder and not target.is_test
        if self.suffix and target.suffix != self.suffix:
            return False
        if self.anchor is None:
            return any(each[-len(self.parts) :] == self.parts for each in target.spellings)
        whole = (*parts_of(self.anchor), *self.parts)
        return whole in target.spellings


class Path(NamedTuple):
    """A path taken apart.

    Attributes:
        folder: its folders.
        suffix: lower case, with its dot.
        spellings: the parts by which it may be imported.
        bare: its name without suffix and without what makes it the name of a test, lower case.
        is_test: whether its name or folder says so.
        family: of languages that import one another; empty if none is known.
    """

    folder: tuple[str, ...]
    suffix: str
    spellings: tuple[tuple[str, ...], ...]
    bare: str
    is_test: bool
    family: str


def family_of(path: str) -> str:
    """The languages that a file's imports one another; empty for none we read."""
    return _split(path).family


def may_import(importer: str, target: str) -> bool:
    """Whether the two are of languages that import one another."""
    family = _split(importer).family
    return importer != target and bool(family) and family == _split(target).family


def are_paired(one: str, other: str) -> bool:
    """Whether one of two files is, by the names, the test of the other."""
    a, b = _split(one), _split(other)
    return a.bare == b.bare and a.is_test != b.is_test and bool(a.family) and a.family == b.family


def names_of(path: str) -> frozenset[str]:
    """What the last part of a reference to a file, or `bare_name` of its test, may be."""
    return frozenset(_names(path))


def bare_name(path: str) -> str:
    """Name of a file without suffix and marks of a test, lower case."""
    return _split(path).bare


def closeness(one: str, other: str) -> int:
    """How many parts two paths begin or end with in common."""
    a, b = one.split("/"), other.split("/")
    return _in_common(a, b) + _in_common(reversed(a), reversed(b))


def _in_common(one: Iterable[str], other: Iterable[str]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


@lru_cache(maxsize=1 << 14)
def _split(path: str) -> Path:
    *folders, name = path.split("/")
    folder = tuple(folders)
    stem, suffix = posixpath.splitext(name)
    family = FAMILIES.get(suffix.lower(), "")
    match = _TEST_NAME.match(stem)
    bare = match[1] if match else stem
    in_tests = any(each.lower() in _TEST_FOLDERS for each in folders)
    spellings: tuple[tuple[str, ...], ...] = ((*folder, stem),)
    if folder and stem in _ENTRIES:
        spellings += (folder,)
    return Path(
        folder,
        suffix.lower(),
        spellings,
        bare.lower(),
        bare != stem or in_tests,
        family,
    )


def _names(path: str) -> set[str]:
    """What a file may be looked up by; asked of every file there is, so nothing else is done."""
    folder, _, name = path.rpartition("/")
    stem, suffix = posixpath.splitext(name)
    match = _TEST_NAME.match(stem)
    names = {stem.lower(), match[1].lower() if match else stem.lower()}
    if folder and (stem in _ENTRIES or suffix == ".go"):
        names.add(folder.rpartition("/")[2].lower())
    return names


def parts_of(path: str) -> tuple[str, ...]:
    """Folders and name."""
    return tuple(part for part in path.split("/") if part not in {"", "."})
