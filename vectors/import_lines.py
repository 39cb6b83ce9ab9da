"""What a file says it imports. Pure: text only.

A grammar of lines, not of languages: import statements stand on lines of their own near the top of
a file, and what they mean is decided among the files that are there (`vectors.imports`).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from vectors.imports import FAMILIES, Reference, family_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROOTS = ("", "src", "lib")  # where a top-level module may stand


def references(path: str, text: str) -> tuple[Reference, ...]:
    """What a file imports, in the order of its text, each once.

    Args:
        path: of the file; tells the language by its suffix.
        text: its beginning.
    """
    family = family_of(path)
    found = _GRAMMARS[family](path, text) if family else ()
    return tuple(dict.fromkeys(each for each in found if each.parts))


def _relative(path: str, named: str, suffix: str = "") -> Reference:
    """A reference relative to the folder of the file that makes it."""
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
    return Reference(parts_of(whole), "", suffix)


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
        elif len(parts := parts_of(bare.lstrip("@~"))) > 1:
            yield Reference(parts)


_GO = re.compile(r"""^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?"([\w.~/-]+)"[ \t]*$""", re.MULTILINE)


def _go(_path: str, text: str) -> Iterator[Reference]:
    for named in _GO.findall(text):
        yield Reference(parts_of(named), package=True)


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
        yield Reference((*parts_of(root), *parts[:length]), "")


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
            yield Reference(parts_of(bare))


_C = re.compile(r"""^[ \t]*#[ \t]*(?:include|import)[ \t]*["<]([^">\n]+)[">]""", re.MULTILINE)


def _c(_path: str, text: str) -> Iterator[Reference]:
    for named in _C.findall(text):
        bare, suffix = posixpath.splitext(named)
        parts = tuple(part for part in parts_of(bare) if part != "..")
        if suffix:  # without one it is of the standard library
            yield Reference(parts, None, suffix.lower())


_SHELL = re.compile(r"""^[ \t]*(?:source|\.)[ \t]+["']?([^\s"';&|]+)""", re.MULTILINE)


def _shell(_path: str, text: str) -> Iterator[Reference]:
    for named in _SHELL.findall(text):
        bare, suffix = posixpath.splitext(named)
        parts = tuple(p for p in parts_of(bare) if not set(p) & set("$(){}`*:") and p != "..")
        yield Reference(parts, None, suffix if suffix in FAMILIES else "")


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
            yield Reference(tuple(p for p in parts_of(bare) if p != ".."), None, suffix)


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
