"""The aliases of a registry and how they came about: one file replaced, one appended to.

`aliases.json` is the last change and with it the state. `history.jsonl` gets the same line after
it; where a process is killed in between, whoever changes something next writes that line first.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from contracts.errors import FatalError, TransientError
from registry.folder import ALIASES
from vectors.disk import sync

if TYPE_CHECKING:
    from pathlib import Path

Action = Literal["none", "promote", "challenge", "retire", "rollback"]
Token = tuple[int, int]

_STATE, _DRAFT, _HISTORY = "aliases.json", "aliases.draft", "history.jsonl"


class Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of aliases, and what they mean since.

    Attributes:
        number: grows by one with every change; 0 is before the first.
        at: RFC 3339, UTC.
        champion: the version that decides.
        challenger: the version that is tried beside it.
        previous: the champion before, which a rollback goes back to.
    """

    number: int = 0
    at: str = ""
    who: str = ""
    why: str = ""
    action: Action = "none"
    champion: str | None = None
    challenger: str | None = None
    previous: str | None = None

    @property
    def aliases(self) -> dict[str, str]:
        """Version by alias; one that means nothing is left out."""
        return {name: version for name in ALIASES if (version := getattr(self, name))}

    def crowned(self, champion: str, previous: str | None) -> Change:
        """Return the same with another champion, who challenges nobody any more."""
        challenger = None if self.challenger == champion else self.challenger
        return msgspec.structs.replace(
            self, champion=champion, challenger=challenger, previous=previous
        )


class Changes:
    """The two files. Whoever writes must hold the registry's lock; readers need none."""

    def __init__(self, root: Path) -> None:
        self._state, self._draft, self._log = (root / name for name in (_STATE, _DRAFT, _HISTORY))

    def token(self) -> Token:
        """Something that is another one after every change; costs one stat(2).

        Raises:
            TransientError: the file cannot be looked at.
        """
        try:
            found = self._state.stat()
        except FileNotFoundError:
            return 0, 0
        except OSError as error:
            raise _unreadable(self._state, error) from error
        return found.st_mtime_ns, found.st_ino

    def last(self) -> Change:
        """What holds now.

        Raises:
            TransientError: it cannot be read.
            FatalError: somebody has damaged it.
        """
        try:
            return msgspec.json.decode(self._state.read_bytes(), type=Change)
        except FileNotFoundError:
            return Change()
        except OSError as error:
            raise _unreadable(self._state, error) from error
        except ValueError as error:
            raise FatalError(f"{self._state} is damaged: {error}") from error

    def all(self) -> list[Change]:
        """Every change, oldest first; errors as of `last`."""
        last = self.last()
        written, _ = self._written()
        return [*written, last] if last.number > _number(written) else written

    def record(self, change: Change) -> None:
        """Make a change; from the moment its file is renamed, it has happened.

        Raises:
            OSError: the disk failed; only what was before holds, or at the very end the change.
        """
        self._write_down(self.last())
        self._draft.write_bytes(msgspec.json.format(msgspec.json.encode(change), indent=2))
        # Clocks of file systems tick in milliseconds, and inodes are used again: without this, who
        # was away for two quick changes could take the second for what was there before the first.
        moment = max(time.time_ns(), self.token()[0] + 1)
        os.utime(self._draft, ns=(moment, moment))
        sync(self._draft)
        self._draft.replace(self._state)
        sync(self._state.parent)
        with suppress(OSError):  # the next change writes it down
            self._write_down(change)

    def _write_down(self, change: Change) -> None:
        written, size = self._written()
        if change.number <= _number(written):
            return
        with self._log.open("ab") as file:
            file.truncate(size)
            file.write(msgspec.json.encode(change) + b"\n")
        sync(self._log)
        sync(self._log.parent)

    def _written(self) -> tuple[list[Change], int]:
        """Read the whole lines of the history, and how many bytes they take."""
        try:
            content = self._log.read_bytes()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise _unreadable(self._log, error) from error
        size = content.rfind(b"\n") + 1
        try:
            lines = content[:size].splitlines()
            return [msgspec.json.decode(line, type=Change) for line in lines], size
        except ValueError as error:
            raise FatalError(f"{self._log} is damaged: {error}") from error


def _number(changes: list[Change]) -> int:
    return changes[-1].number if changes else 0


def _unreadable(path: Path, error: OSError) -> TransientError:
    return TransientError(f"cannot read {path}: {error.strerror}")
