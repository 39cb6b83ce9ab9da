"""JSON from outside, taken only if every common reader takes it."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import Any, Final, NoReturn

import orjson
from msgspec import Struct

from contracts import reasons
from contracts.errors import PoisonError

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(rb"[\[\]{}]")


class Codes(Struct, frozen=True):
    """Which reason code each kind of fault gets."""

    malformed: str = reasons.INVALID_JSON
    not_object: str = reasons.INVALID_SHAPE
    too_deep: str = reasons.INVALID_JSON


def load(raw: bytes, what: str, max_depth: int, codes: Codes) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON strictly, in time linear in its size and without recursion over its depth.

    Refused beyond what RFC 8259 refuses: numbers whose value is infinite as a 64-bit float and
    escapes of lone surrogates (its sections 6 and 8.2 warn of them). A name given twice is
    accepted, as section 4 allows; the last one counts, as with every common reader. Integers
    beyond 2**53 are accepted, too; how exactly they are read is the reader's business.

    Args:
        raw: the document.
        what: name of the field, for the error's detail.
        max_depth: deepest allowed nesting; a document without arrays and objects has depth 0.
        codes: reason codes to raise.

    Raises:
        PoisonError: it is not such a document.
    """
    if raw.count(b"{") + raw.count(b"[") > max_depth and _depth(raw) > max_depth:
        raise PoisonError(codes.too_deep, f"{what} is nested more than {max_depth} levels deep")
    try:
        return orjson.loads(raw)
    except ValueError as error:
        _explain(raw, what, str(error), codes)


def load_object(raw: bytes, what: str, max_depth: int, codes: Codes) -> dict[str, Any]:
    """Parse a JSON object as `load` does.

    Raises:
        PoisonError: it is not such a document, or not an object.
    """
    value = load(raw, what, max_depth, codes)
    if type(value) is not dict:
        raise PoisonError(codes.not_object, f"{what} is not a JSON object")
    return value


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _explain(raw: bytes, what: str, fault: str, codes: Codes) -> NoReturn:
    """Find out why a document of bounded depth was refused, and raise accordingly."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise PoisonError(reasons.INVALID_UTF8, f"{what} is not UTF-8: {error.reason}") from None

    def check(number: str) -> float:
        if math.isinf(value := float(number)):
            detail = f"{what} holds a number too large for a 64-bit float"
            raise PoisonError(reasons.NUMBER_OUT_OF_RANGE, detail)
        return value

    with suppress(ValueError):
        json.loads(text, parse_int=check, parse_float=check)
    raise PoisonError(codes.malformed, f"{what} is not JSON: {fault}")
