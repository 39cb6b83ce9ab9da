"""Clocks of processes that can be set while these run, by libfaketime."""

from __future__ import annotations

from pathlib import Path

from chaos.binaries import SERVERS
from contracts.errors import FatalError

_PLACES = (
    (SERVERS, "faketime/libfaketime.so.1"),
    (Path("/usr/lib"), "*/faketime/libfaketime.so.1"),
)


def library() -> Path | None:
    """Return libfaketime, in `.servers` or where Debian's package puts it, if it is there."""
    return next((path for root, name in _PLACES for path in sorted(root.glob(name))), None)


class Clock:
    """A wall clock that processes can be given; what counts seconds for them (monotonic) is true.

    Attributes:
        env: what puts a process under this clock. Of the servers only Valkey bears it.
    """

    def __init__(self, file: Path) -> None:
        """Make a clock that is right.

        Raises:
            FatalError: libfaketime is not installed.
        """
        found = library()
        if found is None:
            raise FatalError("libfaketime is not installed (Debian: apt install libfaketime)")
        self._file = file
        self.set(0)
        self.env = {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Set the clock so far ahead of the right one (negative: behind), at once."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s")
        fresh.rename(self._file)  # nobody must read it half written
