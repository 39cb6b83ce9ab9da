from __future__ import annotations

import pytest

from contracts import reasons
from contracts.messages import DeadLetter, FileChange, Outcome
from contracts.parse import parse_dead_letter, parse_file_change, parse_outcome
from tests.poison import poison

OUTCOME = {b"task_id": b"t-1", b"master": b"security-master", b"outcome": b"success"}
FILE = {b"op": b"put", b"path": b"src/auth.py"}
DEAD = {
    b"source": b"tasks:{3}",
    b"entry_id": b"1700000000000-0",
    b"reason": b"missing_field",
    b"payload": b'{"description":"base64:/w=="}',
    b"attempts": b"1",
    b"at": b"2026-11-22T10:00:00Z",
}


def test_outcome_with_everything() -> None:
    fields = OUTCOME | {
        b"outcome": b"rerouted",
        b"correct_master": b"dev-master",
        b"score": b"5e-1",
        b"duration_ms": b"1200",
        b"detail": b"took\x00 long",
        b"files": b'["src/a.py", "docs/b c.md"]',
        b"host": b"h1",
    }
    assert parse_outcome(fields) == Outcome(
        task_id="t-1",
        master="security-master",
        outcome="rerouted",
        correct_master="dev-master",
        score=0.5,
        duration_ms=1200.0,
        detail="took long",
        files=["src/a.py", "docs/b c.md"],
        extra={"host": "h1"},
    )


def test_empty_optional_field_counts_as_absent() -> None:
    empty = dict.fromkeys((b"correct_master", b"score", b"duration_ms", b"detail", b"files"), b"")
    assert parse_outcome(OUTCOME | empty) == parse_outcome(OUTCOME)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({b"task_id": b"a b"}, reasons.INVALID_TASK_ID),
        ({b"master": b""}, reasons.MISSING_FIELD),
        ({b"master": b"a/b"}, reasons.INVALID_NAME),
        ({b"master": b"a\n"}, reasons.INVALID_NAME),
        ({b"outcome": b"Success"}, reasons.INVALID_VALUE),
        ({b"outcome": b"\xff"}, reasons.INVALID_VALUE),
        ({b"score": b"1.01"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"score": b"-0.1"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"score": b"nan"}, reasons.INVALID_NUMBER),
        ({b"score": b" 0.5"}, reasons.INVALID_NUMBER),
        ({b"score": b"0.5\n"}, reasons.INVALID_NUMBER),
        ({b"score": b"0_1"}, reasons.INVALID_NUMBER),
        ({b"score": "\u0661".encode()}, reasons.INVALID_NUMBER),
        ({b"duration_ms": b"inf"}, reasons.INVALID_NUMBER),
        ({b"duration_ms": b"1e999"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"duration_ms": b"-1"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"detail": b"\xc0\xaf"}, reasons.INVALID_UTF8),
        ({b"detail": b"x" * 65_537}, reasons.FIELD_TOO_LONG),
        ({b"files": b"src/a.py"}, reasons.INVALID_JSON),
        ({b"files": b"[[]]"}, reasons.INVALID_JSON),
        ({b"files": b"[1]"}, reasons.INVALID_SHAPE),
        ({b"files": b'{"a":1}'}, reasons.INVALID_SHAPE),
        ({b"files": b'["/etc/passwd"]'}, reasons.INVALID_PATH),
        ({b"files": b"[" + b'"a",' * 10_000 + b'"a"]'}, reasons.ENTRY_TOO_LARGE),
        ({b"x": b"\xff"}, reasons.INVALID_UTF8),
    ],
)
def test_malformed_outcome_is_poison(change: dict[bytes, bytes], reason: str) -> None:
    with poison(reason):
        parse_outcome(OUTCOME | change)


def test_file_change() -> None:
    assert parse_file_change(FILE) == FileChange(op="put", path="src/auth.py")
    move = FILE | {b"op": b"move", b"old_path": b"a", b"collection": b"docs", b"root": b"/srv/x"}
    assert parse_file_change(move) == FileChange(
        op="move", path="src/auth.py", old_path="a", collection="docs", root="/srv/x"
    )


@pytest.mark.parametrize(
    "path", ["a", "a/b", ".github/x", "a/...", "..a/b..", "a b/ü.py", "-", "~"]
)
def test_relative_path_is_accepted(path: str) -> None:
    assert parse_file_change(FILE | {b"path": path.encode()}).path == path


@pytest.mark.parametrize(
    "path",
    [
        *("/a", "a/", "a//b", ".", "..", "./a", "../a", "a/./b", "a/../b", "a/.."),
        *("a\\b", "a\0b", "a\nb", "a\x1bb", "a\x7f", "x" * 4097),
    ],
)
def test_path_that_leaves_or_confuses_is_poison(path: str) -> None:
    with poison(reasons.INVALID_PATH):
        parse_file_change(FILE | {b"path": path.encode()})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({b"op": b"move"}, reasons.MISSING_FIELD),
        ({b"op": b"rename"}, reasons.INVALID_VALUE),
        ({b"path": b""}, reasons.MISSING_FIELD),
        ({b"path": b"\xff"}, reasons.INVALID_UTF8),
        ({b"collection": b"../x"}, reasons.INVALID_NAME),
        ({b"collection": b"a:b"}, reasons.INVALID_NAME),
        ({b"root": b"\xff"}, reasons.INVALID_UTF8),
    ],
)
def test_malformed_file_change_is_poison(change: dict[bytes, bytes], reason: str) -> None:
    with poison(reason):
        parse_file_change(FILE | change)


def test_dead_letter() -> None:
    assert parse_dead_letter(DEAD) == DeadLetter(
        source="tasks:{3}",
        entry_id="1700000000000-0",
        reason="missing_field",
        detail="",
        payload={"description": "base64:/w=="},
        attempts=1,
        at="2026-11-22T10:00:00Z",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({b"source": b""}, reasons.MISSING_FIELD),
        ({b"entry_id": b"1"}, reasons.INVALID_VALUE),
        ({b"attempts": b"-1"}, reasons.INVALID_NUMBER),
        ({b"attempts": b"9" * 5000}, reasons.INVALID_NUMBER),
        ({b"payload": b'{"a":1}'}, reasons.INVALID_SHAPE),
        ({b"payload": b"[]"}, reasons.INVALID_SHAPE),
        ({b"payload": b'{"a":{}}'}, reasons.INVALID_JSON),
    ],
)
def test_malformed_dead_letter_is_poison(change: dict[bytes, bytes], reason: str) -> None:
    with poison(reason):
        parse_dead_letter(DEAD | change)
