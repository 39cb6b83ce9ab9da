"""Training lines: a text, and the label it should have got."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from contracts.errors import FatalError

if TYPE_CHECKING:
    from pathlib import Path

NONE = "oos"
"""Label of lines that belong to no label; CLINC150 calls them out of scope."""

_CODE = 2  # letters that are a code rather than a word


class Example(Struct, frozen=True, omit_defaults=True):
    """One line of a training file; keys it does not know are ignored.

    Attributes:
        weight: how much it counts in training; 1 for a line that is simply right.
        source: where it comes from. Lines of one source are alike in more than their label, so
            they are held back together. What follows a `#` names a part of it.
    """

    text: Annotated[str, Meta(min_length=1)]
    label: Annotated[str, Meta(min_length=1)]
    weight: Annotated[float, Meta(ge=0)] = 1.0
    source: str | None = None

    @property
    def origin(self) -> str:
        """The source without its part; empty where none is named."""
        return (self.source or "").partition("#")[0]


_decode = msgspec.json.Decoder(Example).decode


def read_examples(path: Path) -> list[Example]:
    """Read a JSON Lines file; empty lines are skipped.

    Raises:
        FatalError: the file cannot be read or holds nothing, or a line is no example; its number
            is named.
    """
    examples: list[Example] = []
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    examples.append(_example(line, f"{path}, line {number}"))
    except OSError as error:
        raise FatalError(f"cannot read {path}: {error.strerror}") from error
    if not examples:
        raise FatalError(f"{path} holds no examples")
    return examples


def _example(line: bytes, where: str) -> Example:
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        raise FatalError(f"{where}: {error}") from error


def words_of(label: str) -> str:
    """Return `card arrival` for `card_arrival`; "" where a label is a number or a code."""
    words = re.sub(r"[_\W]+", " ", label).strip()
    return words if any(word.isalpha() and len(word) > _CODE for word in words.split()) else ""
