"""Reads a process's settings from its environment into one frozen, checked object.

A settings type is a `msgspec.Struct` whose fields are renamed to their variables; constraints stand
in the types. An empty variable counts as unset.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Mapping

SettingsT = TypeVar("SettingsT", bound=Struct)

Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(gt=0)]
NonNegative = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Partitions = Annotated[int, Meta(ge=0, le=1024)]

# A URL in which every secret is where it belongs (RFC 3986): credentials before the host, options
# in the query. Passwords with unescaped `/`, `?` or `@` elsewhere do not fit.
_URL = re.compile(
    r"(?P<scheme>\w[\w+.-]*://)(?P<user>[^/?#]*@)?(?P<place>[^?#@]*)(?P<query>\?[^@]*)?"
)
_ANY_SCHEME = re.compile(r"\w[\w+.-]*://")


def load(kind: type[SettingsT], environ: Mapping[str, str]) -> SettingsT:
    """Read the variables that `kind` names; all others are none of its business.

    Raises:
        FatalError: a value is not of its field's type or out of range; names the variable.
    """
    given = {name: value for name, value in environ.items() if value}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise FatalError(f"environment: {error}".replace("`$.", "`")) from error


def redacted(settings: Struct) -> dict[str, object]:
    """Return settings for printing, by variable; of URLs neither credentials nor options are left.

    A URL that is malformed, so that a secret could stand anywhere in it, is hidden whole.
    """
    return {
        name: _hidden(value) if isinstance(value, str) else value
        for name, value in msgspec.to_builtins(settings).items()
    }


def _hidden(value: str) -> str:
    scheme = _ANY_SCHEME.match(value)
    if scheme is None:
        return value
    url = _URL.fullmatch(value)
    if url is None:
        return f"{scheme[0]}***"
    user = "***@" if url["user"] else ""
    query = "?***" if url["query"] else ""
    return f"{url['scheme']}{user}{url['place']}{query}"
