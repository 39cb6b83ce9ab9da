"""A server's append-only files: to copy, to cut and to damage."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from contracts.errors import FatalError

if TYPE_CHECKING:
    from pathlib import Path


class Saved:
    """A copy of a server's append-only files, to put back damaged as often as you like.

    Attributes:
        increment: what was written since the base, as bytes of commands.
        base: name of the file the increment starts from.
        manifest: name of the file that lists both.
    """

    def __init__(self, server: Path, to: Path) -> None:
        """Copy the files of the server with data directory `server`, running or not, to `to`."""
        self._files = shutil.copytree(server / "appendonlydir", to)
        self.base = self._only("*.base.*").name
        self.manifest = self._only("*.manifest").name
        self._increment = self._only("*.incr.aof")
        self.increment = self._increment.read_bytes()

    def put(self, server: Path, increment: bytes | None = None) -> Path:
        """Make this the data of a server that does not run.

        Args:
            server: its data directory.
            increment: instead of the one that was saved.

        Returns:
            The folder of the files, for further damage.
        """
        files = server / "appendonlydir"
        shutil.rmtree(files, ignore_errors=True)
        shutil.copytree(self._files, files)
        if increment is not None:
            (files / self.name).write_bytes(increment)
        return files

    @property
    def name(self) -> str:
        """Name of the incremental file."""
        return self._increment.name

    def _only(self, pattern: str) -> Path:
        found = list(self._files.glob(pattern))
        if len(found) != 1:
            raise FatalError(f"{pattern} is not one file: {found}")
        return found[0]


def touches_payload(log: bytes, at: int, length: int = 1) -> bool:
    """Whether some bytes have a part in what an argument says, and not only in the layout."""
    start = 0
    while start < at + length:
        line_end = log.index(b"\r\n", start) + 2
        if log[start : start + 1] == b"$":
            argument_end = line_end + int(log[start + 1 : line_end - 2])
            if line_end < at + length and at < argument_end:
                return True
            line_end = argument_end + 2
        start = line_end
    return False
