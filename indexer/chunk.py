"""Cut a file into stretches that make sense on their own.

Split, then merge: a syntax node that fits stays whole, one that does not is split at its children,
and small neighbours are joined again while they fit (the scheme of cAST, Zhang et al., 2025,
arXiv:2506.15655). Files without a grammar go through the same steps with paragraphs for nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate, chain, takewhile, zip_longest
from typing import TYPE_CHECKING

from msgspec.structs import replace

from indexer.issues import ISSUE, issues_in
from indexer.languages import MARKDOWN, Language, kind_of, language_of, parser
from vectors.types import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tree_sitter import Node

    from indexer.issues import Issue

CHUNKER_VERSION = "4"
"""Enters every content hash: change it whenever the same text would be cut differently."""

DEFAULT_MAX_CHARS = 800
_MAX_DEPTH = 60  # of nested nodes that are split; deeper ones are cut by lines
_MAX_SYMBOL = 200  # characters
_NAME = re.compile(r"[^\s<(\[{]+")
_RECEIVER = re.compile(r"(\w+)\s*(?:\[[^\]]*\])?\s*\)\s*$")  # of a Go method
_CLOSER = re.compile(r"(?:[\s)\]};,]|\b(?:fi|done|esac|end)\b)*")

_AS_LETTERS = bytes(range(128)) + b"_" * 128  # bytes of other characters; offsets stay

Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Lines `start`..`end` (0-based, inclusive) and the scopes of the definitions in them."""

    start: int
    end: int
    scopes: tuple[Scope, ...] = ()


def chunk_file(path: str, text: str, *, max_chars: int = DEFAULT_MAX_CHARS) -> list[Chunk]:
    r"""Cut one file into chunks, in order; every line that is not blank is in one of them.

    Args:
        path: tells the language by its suffix; not otherwise used. A `.jsonl` of nothing but issues
            (`indexer.issues`) is cut issue by issue.
        text: the file, lines separated by `\n`.
        max_chars: what a chunk aims to stay within. Closing brackets may exceed it by a tenth.

    Returns:
        The chunks. A single line longer than `max_chars` gives several with the same line number.
    """
    issues = issues_in(path, text)
    if issues is not None:
        return [chunk for line, issue in issues for chunk in cut_issue(issue, max_chars, line)]
    language = language_of(path, text)
    return _Cutter(text, language, max_chars).chunks(kind_of(path, language))


def cut_issue(
    issue: Issue, max_chars: int = DEFAULT_MAX_CHARS, line: int | None = None
) -> list[Chunk]:
    """Cut an issue as Markdown is cut; each part carries the title, so that it is found by it.

    Args:
        issue: the issue.
        max_chars: as of `chunk_file`.
        line: where it stands in a file of issues; None counts the lines of its own text.
    """
    cut = _Cutter(issue.text, MARKDOWN, max_chars).chunks(ISSUE)
    symbol = issue.title[:_MAX_SYMBOL] or None
    return [
        replace(
            each, symbol=symbol, start_line=line or each.start_line, end_line=line or each.end_line
        )
        for each in cut
    ]


class _Cutter:
    """One file on its way from text to chunks."""

    def __init__(self, text: str, language: Language | None, max_chars: int) -> None:
        self._source = text.encode(errors="replace")
        self._lines = text.split("\n")
        self._offsets = [0, *accumulate(len(line) + 1 for line in self._lines)]
        self._language = language
        self._max = max_chars

    def chunks(self, kind: str) -> list[Chunk]:
        """Split, merge and turn what is left into chunks."""
        last = len(self._lines) - 1
        root = self._parse()
        pieces = self._paragraphs(0, last, ()) if root is None else self._split(root, 0, last, ())
        return list(chain.from_iterable(self._finish(piece, kind) for piece in pieces))

    def _parse(self) -> Node | None:
        """The root of the syntax tree, or None where there is none worth following."""
        if self._language is None:
            return None
        source = self._source.translate(_AS_LETTERS) if self._language.ascii else self._source
        # Error recovery can take time quadratic in the size: stop it after a fixed number of steps.
        steps = iter(range(10_000 + len(source) // 4))
        tree_parser = parser(self._language.module, self._language.factory)
        try:
            tree = tree_parser.parse(
                lambda byte, _point: source[byte : byte + 65_536],
                progress_callback=lambda _byte, _error: next(steps, None) is None,
            )
        except ValueError:  # the parser's word for "stopped"
            tree_parser.reset()
            return None
        return None if tree.root_node.is_error else tree.root_node

    def _size(self, start: int, end: int) -> int:
        """Characters in lines `start`..`end`, without the last newline."""
        return self._offsets[end + 1] - self._offsets[start] - 1

    def _fits(self, start: int, end: int) -> bool:
        return self._size(start, end) <= self._max

    def _split(
        self, node: Node, start: int, end: int, scope: Scope, depth: int = 0
    ) -> list[_Piece]:
        """Cut lines `start`..`end`, which `node` spans, at the boundaries of its children."""
        if depth > _MAX_DEPTH or node.child_count == 0 or start == end:
            return self._paragraphs(start, end, scope)
        pieces: list[_Piece] = []
        cursor = start
        for child, first, last in self._children(node, end):
            if last < cursor:
                continue
            if first > cursor and self._fits(first, last) and not self._fits(cursor, last):
                pieces += self._paragraphs(cursor, first - 1, scope)
                cursor = first
            named = scope + self._name(child)
            if self._fits(cursor, last):
                pieces.append(_Piece(cursor, last, (named,) if named else ()))
            else:
                defines = child.type in self._definitions
                inner = named if defines else scope
                pieces += self._split(child, cursor, last, inner, depth + 1)
            cursor = last + 1
        if cursor <= end:
            pieces += self._paragraphs(cursor, end, scope)
        return self._merge(pieces)

    def _children(self, node: Node, end: int) -> Iterator[tuple[Node, int, int]]:
        """The children that pieces end with, each with its first and last line.

        Comments go with what follows them, and so do words on the line where the next child begins
        (`export` in `export class`).
        """
        leading = self._language.leading if self._language else frozenset()
        spans = [(c, *_rows(c, end)) for c in node.children if c.type not in leading]
        for (child, first, last), following in zip_longest(spans, spans[1:]):
            if following is None or following[1] > last or first < last:
                yield child, first, last

    @property
    def _definitions(self) -> dict[str, str]:
        return self._language.definitions if self._language else {}

    def _name(self, node: Node) -> Scope:
        """What a node defines, as the parts a qualified name gains; empty if nothing."""
        if self._language is None:
            return ()
        if node.type in self._language.wrappers:
            names = (self._name(child) for child in node.named_children)
            return next(filter(None, names), ())
        if node.type not in self._language.definitions:
            return ()
        return self._definition_name(node, self._language.definitions[node.type])

    def _definition_name(self, node: Node, name_field: str) -> Scope:
        if node.type == "section":  # Markdown: the name is a grandchild, and holds spaces
            heading = node.named_child(0) if node.named_child_count else None
            words = heading.child_by_field_name(name_field) if heading else None
            title = " ".join(self._said(words).split()) if words else ""
            return (title,) if title else ()
        named = node.child_by_field_name(name_field)
        match = _NAME.match(self._said(named).lstrip("*& "))  # C declares `*name(...)`
        if match is None:
            return ()
        receiver = node.child_by_field_name("receiver")
        owner = _RECEIVER.search(self._said(receiver)) if receiver else None
        return (owner[1], match[0]) if owner else (match[0],)

    def _said(self, node: Node | None) -> str:
        said = self._source[node.start_byte : node.end_byte] if node else b""
        return said.decode(errors="replace")

    def _paragraphs(self, start: int, end: int, scope: Scope) -> list[_Piece]:
        """Cut lines at blank lines; a paragraph that is too long, between any two lines."""
        scopes = (scope,) if scope else ()
        pieces: list[_Piece] = []
        first = start
        for line in range(start, end + 1):
            if line == end or (self._blank(line) and not self._blank(line + 1)):
                pieces += self._windows(first, line, scopes)
                first = line + 1
        return self._merge(pieces)

    def _windows(self, start: int, end: int, scopes: tuple[Scope, ...]) -> Iterator[_Piece]:
        first = start
        for line in range(start, end + 1):
            if line > first and not self._fits(first, line):
                yield _Piece(first, line - 1, scopes)
                first = line
        yield _Piece(first, end, scopes)

    def _merge(self, pieces: Iterable[_Piece]) -> list[_Piece]:
        """Join neighbours while they fit together; closing brackets stay with what they close."""
        merged: list[_Piece] = []
        for piece in pieces:
            previous = merged[-1] if merged else None
            if previous and (
                self._fits(previous.start, piece.end) or self._closes(previous, piece)
            ):
                scopes = tuple(dict.fromkeys(previous.scopes + piece.scopes))
                merged[-1] = _Piece(previous.start, piece.end, scopes)
            else:
                merged.append(piece)
        return merged

    def _closes(self, previous: _Piece, piece: _Piece) -> bool:
        nearly_fits = self._size(previous.start, piece.end) <= self._max + self._max // 10
        return nearly_fits and all(
            _CLOSER.fullmatch(line) for line in self._lines[piece.start : piece.end + 1]
        )

    def _blank(self, line: int) -> bool:
        return not self._lines[line].strip()

    def _finish(self, piece: _Piece, kind: str) -> Iterator[Chunk]:
        """Trim blank lines; cut what is one overlong line."""
        start, end = piece.start, piece.end
        while start <= end and self._blank(start):
            start += 1
        while end > start and self._blank(end):
            end -= 1
        if start > end:
            return
        text = "\n".join(self._lines[start : end + 1])
        parts = _cut_line(text, self._max) if start == end else [text]
        for part in parts:
            yield Chunk(
                start_line=start + 1,
                end_line=end + 1,
                symbol=self._symbol(piece.scopes),
                kind=kind,
                text=part,
            )

    def _symbol(self, scopes: tuple[Scope, ...]) -> str | None:
        """The innermost scope that holds all of `scopes`."""
        levels = takewhile(lambda names: len(set(names)) == 1, zip(*scopes, strict=False))
        shared = [names[0] for names in levels]
        if self._language is None or not shared:
            return None
        return self._language.separator.join(shared)[:_MAX_SYMBOL]


def _rows(node: Node, end: int) -> tuple[int, int]:
    """First and last line of a node, 0-based, not past `end`."""
    first, (last, column) = node.start_point[0], node.end_point
    if column == 0 and last > first:  # it ends with the newline of the line before
        last -= 1
    return first, min(last, end)


def _cut_line(line: str, max_chars: int) -> list[str]:
    """Cut an overlong line after a space or a separator where there is one, else anywhere."""
    parts: list[str] = []
    while len(line) > max_chars:
        window = line[:max_chars]
        cut = max(window.rfind(mark) for mark in " \t,;}>") + 1
        if cut <= max_chars // 2:
            cut = max_chars
        parts.append(line[:cut])
        line = line[cut:]
    return [part for part in [*parts, line] if part.strip()]
