"""What a file says it imports, and whether that means another file. Pure: paths and text only.

A grammar of lines, not of languages: import statements stand on lines of their own near the top of
a file, and what they mean is decided among the files that are there.
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_FAMILIES = {
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
_FAMILY = {suffix: name for name, suffixes in _FAMILIES.items() for suffix in suffixes.split()}
_ENTRIES = frozenset({"__init__", "index", "mod", "lib"})  # stand for their folder
_ROOTS = ("", "src", "lib")  # where a top-level module may stand
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
        whole = (*_parts(self.anchor), *self.parts)
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


def references(path: str, text: str) -> tuple[Reference, ...]:
    """What a file imports, in the order of its text, each once.

    Args:
        path: of the file; tells the language by its suffix.
        text: its beginning.
    """
    family = _split(path).family
    found = _GRAMMARS[family](path, text) if family else ()
    return tuple(dict.fromkeys(each for each in found if each.parts))


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
    family = _FAMILY.get(suffix.lower(), "")
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


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in {"", "."})


def _relative(path: str, named: str, suffix: str = "") -> Reference:
    """A reference relative to the folder of the file that makes it."""
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
    return Reference(_parts(whole), "", suffix)


_PYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#;]+)"
    r"|import[ \t]+([\w., \t]+))",
    re.MULTILINE,
)
_NAMED = re.compile(r"([A-Za-z_]\w*)(?:[ \t]+as[ \t]+\w+)?")


def _python(path: str, text: str) -> Iterator[Reference]:
    for dots, module, names, modules in _PYTHON.findall(text):
        if modules:
            for each in modules.split(","):
                words = each.split()
                yield from _modules(tuple(words[0].split(".")) if words else ())
            continue
        parts = tuple(filter(None, module.split(".")))
        imported = [*_NAMED.findall(re.sub(r"#.*", "", names)), None]
        for name in imported:
            whole = parts if name is None else (*parts, name)
            if dots:
                up = "../" * (len(dots) - 1)
                yield _relative(path, up + "/".join(whole))
            elif len(whole) > 1 or name is None:
                yield from _modules(whole)


def _modules(parts: tuple[str, ...]) -> Iterator[Reference]:
    """A dotted name: of several parts anywhere, of one only where packages begin."""
    if len(parts) == 1:
        yield from (Reference(parts, root) for root in _ROOTS)
    else:
        yield Reference(parts)


_SCRIPT = re.compile(
    r"""(?:\bfrom[ \t]*|\bimport[ \t]*\(?[ \t]*|\brequire[ \t]*\([ \t]*)(["'])([^"'\n]+)\1"""
)
_SCRIPT_SUFFIX = re.compile(r"\.(?:[mc]?[jt]sx?|vue|svelte)$")


def _script(path: str, text: str) -> Iterator[Reference]:
    for _, named in _SCRIPT.findall(text):
        bare = _SCRIPT_SUFFIX.sub("", named)
        if named.startswith("."):
            yield _relative(path, bare)
        elif len(parts := _parts(bare.lstrip("@~"))) > 1:
            yield Reference(parts)


_GO = re.compile(r"""^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"([\w.~/-]+)"[ \t]*$""", re.MULTILINE)


def _go(_path: str, text: str) -> Iterator[Reference]:
    for named in _GO.findall(text):
        yield Reference(_parts(named), package=True)


_JVM = re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?([\w.]+)", re.MULTILINE)


def _jvm(_path: str, text: str) -> Iterator[Reference]:
    for named in _JVM.findall(text):
        parts = tuple(filter(None, named.split(".")))
        yield from _up_to(parts, 2)


_RUST = re.compile(
    r"^[ \t]*(?:pub(?:\([\w: ]+\))?[ \t]+)?(?:mod[ \t]+(\w+)[ \t]*;|use[ \t]+([\w:]+))",
    re.MULTILINE,
)


def _rust(path: str, text: str) -> Iterator[Reference]:
    *_, name = path.split("/")
    own = "" if name in {"mod.rs", "lib.rs", "main.rs"} else name.removesuffix(".rs") + "/"
    for module, used in _RUST.findall(text):
        if module:
            yield _relative(path, own + module)
            yield _relative(path, module)
            continue
        first, *rest = [part for part in used.split("::") if part]
        if first in {"self", "super"}:
            parents = 1 + sum(part == "super" for part in rest)
            named = [part for part in rest if part != "super"]
            up = "../" * (parents if own == "" else parents - 1) if first == "super" else own
            if named:
                yield _relative(path, up + "/".join(named))
                yield _relative(path, up + "/".join(named[:-1] or named))
        elif first == "crate":
            yield from _in_crate(path, tuple(rest))


def _in_crate(path: str, parts: tuple[str, ...]) -> Iterator[Reference]:
    """What may be an item of a module, or a module: looked up below the crate's `src`."""
    at = path.rfind("src/")
    root = path[: at + 4] if at >= 0 else ""
    for length in range(len(parts), max(len(parts) - 2, 0), -1):
        yield Reference((*_parts(root), *parts[:length]), "")


def _up_to(parts: tuple[str, ...], least: int) -> Iterator[Reference]:
    """A dotted name, and without its last part: that may be a member of what the rest names."""
    yield Reference(parts)
    if len(parts) > least:
        yield Reference(parts[:-1])


_RUBY = re.compile(
    r"""^[ \t]*(require|require_relative|load)[ \t(]+["']([^"'\n]+)["']""", re.MULTILINE
)


def _ruby(path: str, text: str) -> Iterator[Reference]:
    for how, named in _RUBY.findall(text):
        bare = named.removesuffix(".rb")
        if how == "require_relative" or named.startswith("."):
            yield _relative(path, bare)
        else:
            yield Reference(_parts(bare))


_C = re.compile(r"""^[ \t]*#[ \t]*(?:include|import)[ \t]*["<]([^">\n]+)[">]""", re.MULTILINE)


def _c(_path: str, text: str) -> Iterator[Reference]:
    for named in _C.findall(text):
        bare, suffix = posixpath.splitext(named)
        parts = tuple(part for part in _parts(bare) if part != "..")
        if suffix:  # without one it is of the standard library
            yield Reference(parts, None, suffix.lower())


_SHELL = re.compile(r"""^[ \t]*(?:source|\.)[ \t]+["']?([^\s"';&|]+)""", re.MULTILINE)


def _shell(_path: str, text: str) -> Iterator[Reference]:
    for named in _SHELL.findall(text):
        bare, suffix = posixpath.splitext(named)
        parts = tuple(p for p in _parts(bare) if not set(p) & set("$(){}`*:") and p != "..")
        yield Reference(parts, None, suffix if suffix in _FAMILY else "")


_PHP = re.compile(
    r"""^[ \t]*use[ \t]+(?:function[ \t]+|const[ \t]+)?\\?([\w\\]+)"""
    r"""|^[^\n'"]*\b(?:require|include)(?:_once)?\b[^'"\n]*["']([^"'\n]+)["']""",
    re.MULTILINE,
)


def _php(_path: str, text: str) -> Iterator[Reference]:
    for used, named in _PHP.findall(text):
        if used:
            parts = tuple(filter(None, used.split("\\")))
            yield Reference(parts)
            if len(parts) > 2:  # noqa: PLR2004 - PSR-4 maps the vendor to a folder of any name
                yield Reference(parts[1:])
        else:
            bare, suffix = posixpath.splitext(named)
            yield Reference(tuple(p for p in _parts(bare) if p != ".."), None, suffix)


_GRAMMARS: dict[str, Callable[[str, str], Iterator[Reference]]] = {
    "python": _python,
    "script": _script,
    "go": _go,
    "jvm": _jvm,
    "rust": _rust,
    "ruby": _ruby,
    "c": _c,
    "shell": _shell,
    "php": _php,
}
