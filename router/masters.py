"""The masters tasks are routed to. They are data: see `masters.toml`."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from contracts.errors import FatalError
from router.preferences import Preference, Source

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=64)]
Sink = Literal["stream", "rq"]


class Master(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One agent that takes tasks.

    Attributes:
        name: lower-case words joined by hyphens; part of its stream's key.
        description: its field, in a sentence or two; what a model or a person routes by.
        examples: tasks that are plainly its own.
        sinks: where its decisions end up; `stream` always, `rq` if a relay feeds an RQ queue.
        collections: the collections its context is searched in, by name or with a weight; see
            `sources`. One that is not there is empty.
        prefer: which files of them it would rather see.
    """

    name: Name
    description: Annotated[str, Meta(min_length=1)]
    examples: tuple[str, ...] = ()
    sinks: tuple[Sink, ...] = ("stream",)
    collections: Annotated[tuple[str | Source, ...], Meta(min_length=1)] = ("code",)
    prefer: tuple[Preference, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The collections with their weights, in the order of the file."""
        return tuple(
            Source(name=each) if isinstance(each, str) else each for each in self.collections
        )


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    fallback: str
    master: Annotated[tuple[Master, ...], Meta(min_length=1)]


class Masters(Struct, frozen=True):
    """Every master, in the order of the file, and the one that takes what nobody else claims.

    Attributes:
        all: the masters; names are unique.
        fallback: name of one of them.
    """

    all: tuple[Master, ...]
    fallback: str

    @classmethod
    def parse(cls, text: str) -> Masters:
        """Read the text of a `masters.toml`.

        Raises:
            FatalError: the text is not TOML, a key is unknown or missing, a value is of the wrong
                kind, a name is used twice, or `fallback` names no master.
        """
        try:
            file = msgspec.toml.decode(text, type=_File)
        except msgspec.DecodeError as error:
            raise FatalError(f"masters: {error}") from error
        masters = cls(all=file.master, fallback=file.fallback)
        masters._check()
        return masters

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the file."""
        return tuple(master.name for master in self.all)

    def _check(self) -> None:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise FatalError(f"masters: {', '.join(twice)} stands in the file more than once")
        if self.fallback not in self.names:
            raise FatalError(
                f"masters: the fallback {self.fallback!r} is none of {', '.join(self.names)}"
            )
        for master in self.all:
            if "stream" not in master.sinks:
                raise FatalError(
                    f"masters: {master.name} must have the sink 'stream'; a relay reads it"
                )
