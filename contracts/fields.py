"""Reads single fields of a stream entry: flat strings from any client, none taken on trust.

A flat string cannot say "none", so an empty optional field is the same as an absent one.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from contracts import reasons
from contracts.clean import clean
from contracts.errors import PoisonError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_EXTRA_FIELDS: Final = 64
MAX_EXTRA_BYTES: Final = 65_536
MAX_TEXT: Final = 65_536
MAX_PATH: Final = 4096  # PATH_MAX of Linux

# RFC 8259 section 6: what every language prints and none needs a locale for.
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_COUNT: Final = re.compile(rb"0|[1-9][0-9]{0,17}")  # below 2**63
_NAME: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NOT_IN_PATHS: Final = re.compile(r"[\x00-\x1f\x7f\\]|(?:^|/)\.{0,2}(?:/|$)")
_SHOWN: Final = 60


def required(fields: Mapping[bytes, bytes], name: str) -> bytes:
    """Return a field's bytes.

    Raises:
        PoisonError: it is absent or empty.
    """
    raw = fields.get(name.encode())
    if not raw:
        raise PoisonError(reasons.MISSING_FIELD, f"{name} is missing")
    return raw


def utf8(raw: bytes, name: str) -> str:
    """Decode UTF-8 strictly: no overlong forms, no surrogates.

    Raises:
        PoisonError: it is not UTF-8.
    """
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        detail = f"{name} is not UTF-8 at byte {error.start}: {error.reason}"
        raise PoisonError(reasons.INVALID_UTF8, detail) from None


def text(raw: bytes, name: str) -> str:
    """Read free text of at most 64 KiB and clean it.

    Raises:
        PoisonError: it is too long or not UTF-8.
    """
    if len(raw) > MAX_TEXT:
        raise PoisonError(reasons.FIELD_TOO_LONG, f"{name} is {len(raw)} bytes long")
    return clean(utf8(raw, name))


def name(raw: bytes, what: str) -> str:
    """Read a name: 1-128 ASCII letters, digits, `.`, `_`, `-`, beginning with a letter or digit.

    Such a name is safe in a key, in a file name and in a metric's label.

    Raises:
        PoisonError: it is not such a name.
    """
    if not _NAME.fullmatch(raw):
        raise PoisonError(reasons.INVALID_NAME, f"{what} is not a plain name: {shown(raw)}")
    return raw.decode("ascii")


def choice(raw: bytes, what: str, choices: Mapping[bytes, str]) -> str:
    """Read one of several fixed values.

    Raises:
        PoisonError: it is none of them.
    """
    chosen = choices.get(raw)
    if chosen is None:
        expected = ", ".join(sorted(choices.values()))
        detail = f"{what} is {shown(raw)}, not one of {expected}"
        raise PoisonError(reasons.INVALID_VALUE, detail)
    return chosen


def number(raw: bytes, what: str, high: float = math.inf) -> float:
    """Read a decimal number from 0 to `high`, written as in JSON.

    Raises:
        PoisonError: it is not a number, not finite, or out of range.
    """
    if not _NUMBER.fullmatch(raw):
        raise PoisonError(reasons.INVALID_NUMBER, f"{what} is not a number: {shown(raw)}")
    value = float(raw)
    if not 0 <= value <= high or math.isinf(value):
        raise PoisonError(reasons.NUMBER_OUT_OF_RANGE, f"{what} is out of range: {shown(raw)}")
    return value


def count(raw: bytes, what: str) -> int:
    """Read a whole number from 0 to 10**18 - 1.

    Raises:
        PoisonError: it is not such a number.
    """
    if not _COUNT.fullmatch(raw):
        raise PoisonError(reasons.INVALID_NUMBER, f"{what} is not a count: {shown(raw)}")
    return int(raw)


def path(value: str, what: str) -> str:
    r"""Check a path: relative, `/` between parts, no empty, `.` or `..` part, no `\`, no controls.

    Raises:
        PoisonError: it is not such a path.
    """
    if not value or len(value) > MAX_PATH or _NOT_IN_PATHS.search(value):
        detail = f"{what} is not a relative path: {shown(value.encode(errors='replace'))}"
        raise PoisonError(reasons.INVALID_PATH, detail)
    return value


def unknown(fields: Mapping[bytes, bytes], known: frozenset[bytes]) -> dict[str, str]:
    """Return the fields this version does not know.

    Raises:
        PoisonError: they are too many, too large, or not UTF-8.
    """
    if fields.keys() <= known:
        return {}
    rest = {key: value for key, value in fields.items() if key not in known}
    size = sum(len(key) + len(value) for key, value in rest.items())
    if len(rest) > MAX_EXTRA_FIELDS or size > MAX_EXTRA_BYTES:
        detail = f"{len(rest)} unknown fields of {size} bytes"
        raise PoisonError(reasons.ENTRY_TOO_LARGE, detail)
    return {
        utf8(key, "a field name"): utf8(value, f"field {shown(key)}") for key, value in rest.items()
    }


def shown(raw: bytes) -> str:
    """Quote the beginning of a value for an error's detail, without anything unprintable."""
    cut = raw[:_SHOWN].decode("ascii", "backslashreplace")
    return f"{cut!r}{'...' if len(raw) > _SHOWN else ''}"
