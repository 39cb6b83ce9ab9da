"""What a task says of itself in its metadata that bears on its assignment."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Longer texts identify nothing, and one of them would make the whole batch as wide (see `buckets`).
MAX_LENGTH: Final = 512

_IN_DIGITS: Final = 21  # ECMAScript writes larger numbers with an exponent, and
_IN_ZEROS: Final = -6  # smaller ones than with as many zeros after the point


def texts(path: str, metadata: Sequence[Raw | None]) -> list[str | None]:
    """Return what each task's metadata has in a place, as GrowthBook would hash it.

    Args:
        path: names joined by dots, such as `repo` or `tenant.id`.
        metadata: n JSON objects, or None where a task has none.

    Returns:
        n texts, of 1-512 characters; None where there is none, or neither a string nor a number, or
        zero, which GrowthBook takes for none.
    """
    read = _reader(path)
    known: dict[bytes, str | None] = {}  # tasks of one batch often say the same
    found: list[str | None] = []
    for raw in metadata:
        if raw is None:
            found.append(None)
            continue
        document = bytes(raw)
        if document not in known:
            known[document] = read(document)
        found.append(known[document])
    return found


def number_text(number: float) -> str:
    """Write a number as ECMAScript does (ECMA-262, Number::toString), whose SDKs hash that.

    Args:
        number: finite, not zero. Integers are written as the nearest float, as that language has no
            others.
    """
    number = float(number)
    # The shortest digits that read back as the same float, and where the point is among them.
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    padded = (whole + fraction).lstrip("0")
    digits = padded.rstrip("0")
    point = int(exponent or 0) - len(fraction) + len(padded)
    if 0 < point <= _IN_DIGITS:
        text = digits[:point].ljust(point, "0") + ("." + digits[point:]).rstrip(".")
    elif _IN_ZEROS < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = (digits[0] + "." + digits[1:]).rstrip(".") + f"e{point - 1:+d}"
    return "-" + text if number < 0 else text


@lru_cache(maxsize=8)
def _reader(path: str) -> Callable[[bytes], str | None]:
    """Return what finds a value in a JSON object without making anything of the rest of it."""
    kind: Any = str | int | float
    *outer, last = path.split(".")
    kind = msgspec.defstruct("Metadata", [("value", kind)], rename={"value": last})
    for name in reversed(outer):
        kind = msgspec.defstruct("Metadata", [("value", kind)], rename={"value": name})
    decode = msgspec.json.Decoder(kind).decode

    def read(document: bytes) -> str | None:
        try:
            value = decode(document)
            while isinstance(value, msgspec.Struct):
                value = value.value  # type: ignore[attr-defined]
            text = value if isinstance(value, str) else number_text(value) if value else ""
        except (msgspec.DecodeError, UnicodeError, OverflowError, RecursionError):
            return None
        return text if 0 < len(text) <= MAX_LENGTH else None

    return read
