"""A chain of hashes over lines: what is changed, left out or moved breaks it, and where is seen.

Each line is a JSON object that ends with its number, the hash of the line before and its own hash:
SHA-256 over everything that stands before it, and so over the hash of the line before. After
B. Schneier, J. Kelsey, "Secure audit logs to support computer forensics", 1999, section 3. Lines
cut from the end leave no gap, and whoever can write the file can make a new chain of it: both are
seen by comparing with the chain's head, kept elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["changed", "missing", "reordered", "repeated", "cut"]

_NOTHING: Final = "0" * 64
_HASH: Final = b',"hash":"'
_CLOSING: Final = b'"}\n'
_TAIL: Final = len(_HASH) + 64 + len(_CLOSING)
_LINKED: Final = re.compile(rb',"seq":([1-9][0-9]{0,17}),"prev":"([0-9a-f]{64})"')
_LINK: Final = len(b',"seq":') + 18 + len(b',"prev":""') + 64


class Head(NamedTuple):
    """The end of a chain.

    Attributes:
        number: of the last line, counted from 1; so the lines so far.
        hash: of the last line, 64 hexadecimal digits; zeros before the first.
    """

    number: int = 0
    hash: str = _NOTHING


class Link(NamedTuple):
    """What a line says of its place, and whether its own hash is right."""

    number: int
    previous: str
    hash: str
    sound: bool


class Fault(NamedTuple):
    """The first thing that is wrong with a chain.

    Attributes:
        kind: `changed`: a line is not what was written; `missing`: lines are not there;
            `reordered`: they are, further down; `repeated`: a line that was there before; `cut`:
            lines at the end are not there.
        line: number of the first line that is wrong, counted over the whole chain from 1.
        detail: one sentence for people.
    """

    kind: Kind
    line: int
    detail: str


class Verified(NamedTuple):
    """What became of checking a chain.

    Attributes:
        head: the last line up to which all is right.
        fault: None where all is.
    """

    head: Head
    fault: Fault | None


def append(head: Head, record: bytes) -> tuple[bytes, Head]:
    """Make a record the next line of a chain.

    Args:
        head: the chain so far.
        record: a JSON object with at least one member and without line ends.

    Returns:
        The line with its line end, and the head it makes.
    """
    body = record[:-1] + _following(head)
    digest = hashlib.sha256(body).hexdigest()
    return body + _closing(digest), Head(head.number + 1, digest)


def read_link(line: bytes) -> Link | None:
    """Read a line's place in its chain; None if it is no line of one."""
    body, tail = line[:-_TAIL], line[-_TAIL:]
    if not (tail.startswith(_HASH) and tail.endswith(_CLOSING)):
        return None
    match = _LINKED.search(body, max(0, len(body) - _LINK))
    if match is None or match.end() != len(body):
        return None
    claimed = tail[len(_HASH) : -len(_CLOSING)]
    sound = hashlib.sha256(body).hexdigest().encode() == claimed
    return Link(int(match[1]), match[2].decode(), claimed.decode("latin-1"), sound)


def verify(lines: Iterable[bytes], begin: Head | None = None, end: Head | None = None) -> Verified:
    """Check a chain from its beginning, in one pass.

    Args:
        lines: each with its line end.
        begin: what the first line is to follow; by default nothing. None of a chain whose
            beginning was given up is known: see `opening`.
        end: the head kept elsewhere: the lines must reach it and may go on after it. None where
            there is none to compare with.

    Returns:
        Where it ends, or its first fault.
    """
    head, rest = begin or Head(), iter(lines)
    compared = end is None or end.number <= head.number
    for line in rest:
        body = line[:-_TAIL]
        digest = hashlib.sha256(body).hexdigest()
        if not body.endswith(_following(head)) or line[-_TAIL:] != _closing(digest):
            return Verified(head, _fault(head, read_link(line), rest))
        head = Head(head.number + 1, digest)
        if end is not None and head.number == end.number:
            compared = True
            if head.hash != end.hash:
                detail = f"line {head.number} and lines before it were written anew"
                return Verified(head, Fault("changed", head.number, detail))
    if not compared and end is not None:
        gone = f"lines {head.number + 1} to {end.number} are cut off"
        return Verified(head, Fault("cut", head.number + 1, gone))
    return Verified(head, None)


def opening(line: bytes) -> Head:
    """Return what a line says it follows: the head of a chain whose older lines were given up."""
    link = read_link(line)
    return Head() if link is None else Head(link.number - 1, link.previous)


def _following(head: Head) -> bytes:
    """What stands before a line's own hash if it follows `head`."""
    return b',"seq":%d,"prev":"%b"' % (head.number + 1, head.hash.encode())


def _closing(digest: str) -> bytes:
    return b"%b%b%b" % (_HASH, digest.encode(), _CLOSING)


def _fault(head: Head, link: Link | None, rest: Iterable[bytes]) -> Fault:
    """Say what is wrong with the line after `head`."""
    number = head.number + 1
    if link is None:
        return Fault("changed", number, f"line {number} is no line of a chain")
    if not link.sound:
        return Fault("changed", number, f"line {number} does not have the hash it names")
    if link.number <= head.number:
        detail = f"where line {number} should be, line {link.number} stands again"
        return Fault("repeated", number, detail)
    if link.number == number:
        detail = f"line {number} does not follow line {head.number}: one of them was written anew"
        return Fault("changed", max(1, head.number), detail)
    moved = any(
        each is not None and each.sound and each[:2] == (number, head.hash)
        for each in map(read_link, rest)
    )
    if moved:
        detail = f"line {number} stands after line {link.number}"
        return Fault("reordered", number, detail)
    detail = f"lines {number} to {link.number - 1} are not there"
    return Fault("missing", number, detail)
