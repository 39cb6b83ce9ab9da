from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollout.chain import Head, append, verify


def _chain() -> tuple[list[bytes], Head]:
    lines, head = [], Head()
    for number in range(8):
        line, head = append(head, b'{"task_id":"t-%d"}' % (number % 3))
        lines.append(line)
    return lines, head


LINES, HEAD = _chain()
TEXT = b"".join(LINES)
PLACES = st.integers(0, len(LINES) - 1)


def broken(lines: list[bytes]) -> bool:
    return verify(lines, end=HEAD).fault is not None


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_every_change_of_a_byte_is_seen(at: int, flip: int) -> None:
    changed = bytearray(TEXT)
    changed[at] ^= flip
    assert broken(bytes(changed).splitlines(keepends=True))


@given(st.sets(PLACES, min_size=1))
def test_every_removal_is_seen(gone: set[int]) -> None:
    assert broken([line for at, line in enumerate(LINES) if at not in gone])


@given(st.permutations(range(len(LINES))))
def test_every_other_order_is_seen(order: list[int]) -> None:
    assert broken([LINES[at] for at in order]) == (order != sorted(order))


@given(PLACES, st.integers(0, len(LINES)))
def test_every_insertion_of_an_old_line_is_seen(which: int, where: int) -> None:
    doubled = [*LINES[:where], LINES[which], *LINES[where:]]
    assert broken(doubled)
