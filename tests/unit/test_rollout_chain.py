from __future__ import annotations

import pytest

from rollout.chain import Head, append, opening, verify


def chain(count: int, head: Head | None = None) -> tuple[list[bytes], Head]:
    lines, head = [], head or Head()
    for number in range(count):
        line, head = append(head, b'{"task_id":"t-%d","outcome":"failed"}' % number)
        lines.append(line)
    return lines, head


LINES, HEAD = chain(9)


def fault(lines: list[bytes], end: Head | None = HEAD) -> tuple[str, int] | None:
    found = verify(lines, end=end).fault
    return found and (found.kind, found.line)


def test_a_sound_chain() -> None:
    assert verify(LINES, end=HEAD) == (HEAD, None)
    assert verify(LINES) == (HEAD, None)
    assert verify([]) == (Head(), None)
    assert LINES[0].startswith(b'{"task_id":"t-0","outcome":"failed","seq":1,"prev":"000')


def test_it_may_go_on_after_the_head_that_is_known() -> None:
    longer, head = chain(3, HEAD)
    assert verify([*LINES, *longer], end=HEAD) == (head, None)


def test_what_was_given_up_is_not_missed() -> None:
    assert fault(LINES[4:]) == ("missing", 1)
    assert verify(LINES[4:], begin=opening(LINES[4]), end=HEAD) == (HEAD, None)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([*LINES[:3], LINES[3].replace(b"t-3", b"t-4"), *LINES[4:]], ("changed", 4)),
        ([*LINES[:3], b"{}\n", *LINES[4:]], ("changed", 4)),
        ([*LINES[:3], b"\n", *LINES[4:]], ("changed", 4)),
        ([*LINES[:3], LINES[3][:-1]], ("changed", 4)),
        ([*LINES[:3], *LINES[5:]], ("missing", 4)),
        ([*LINES[:3], LINES[4], LINES[3], *LINES[5:]], ("reordered", 4)),
        ([*LINES[:4], LINES[3], *LINES[4:]], ("repeated", 5)),
        (LINES[:6], ("cut", 7)),
        ([], ("cut", 1)),
    ],
)
def test_what_is_wrong_is_named(lines: list[bytes], expected: tuple[str, int]) -> None:
    assert fault(lines) == expected


def test_a_line_written_anew_with_a_right_hash_is_seen_by_the_next() -> None:
    forged, head = append(Head(2, opening(LINES[2]).hash), b'{"task_id":"other"}')
    assert head.number == 3
    assert fault([*LINES[:2], forged, *LINES[3:]]) == ("changed", 3)


def test_a_whole_new_chain_is_seen_by_the_head() -> None:
    forged, head = [], Head()
    for number in range(9):
        line, head = append(head, b'{"n":%d}' % number)
        forged.append(line)
    assert fault(forged, end=None) is None
    assert fault(forged) == ("changed", 9)
