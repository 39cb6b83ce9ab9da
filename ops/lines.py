"""Reads files of JSON lines; every complaint names the file and the line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from contracts.errors import FatalError, PoisonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LineT = TypeVar("LineT")
ValueT = TypeVar("ValueT")


def read_lines(file: str, kind: type[LineT], make: Callable[[LineT], ValueT]) -> Iterator[ValueT]:
    """Yield what `make` makes of each line; blank lines are skipped.

    Args:
        file: path, or `-` for standard input, which is read as it comes.
        kind: the type of a line.
        make: may raise `PoisonError` or `UnicodeDecodeError` on a line it cannot use.

    Raises:
        FatalError: the file cannot be read, or a line is not usable; says which and why.
    """
    decoder = msgspec.json.Decoder(kind)
    for number, raw in enumerate(_raw_lines(file), start=1):
        if not raw.strip():
            continue
        try:
            yield make(decoder.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, PoisonError) as error:
            name = "standard input" if file == "-" else file
            raise FatalError(f"{name}, line {number}: {error}") from error


def _raw_lines(file: str) -> Iterable[bytes]:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).read_bytes().split(b"\n")
    except OSError as error:
        raise FatalError(f"cannot read {file}: {error.strerror}") from error
