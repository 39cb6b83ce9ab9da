"""What a graph looks up by name and by commit, and a thread that reads it."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from vectors.imports import names_of
from vectors.touched import Touched

if TYPE_CHECKING:
    from vectors.segment import Segment
    from vectors.view import View


class Tables:
    """What is looked up by name and by commit: of a base and of what came after it."""

    def __init__(self) -> None:
        self.names = (Names(), Names())
        self.touched = Touched()
        self._of: object = None

    def are_of(self, view: View, past: View | None) -> bool:
        """Whether the bases are those that were read."""
        return self._of is view.lasting and (past is None or self.touched.is_of(past))

    def read(self, view: View, past: View | None) -> None:
        """Read the bases, and what is after them already."""
        self._of = view.lasting
        self.names[0].follow(view.segments[0])
        if past is not None:
            self.touched.read(past)

    def follow(self, view: View, past: View | None) -> None:
        """Take over what came after the bases; of other bases, nothing."""
        if self._of is view.lasting:
            for segment in view.segments[1:]:
                self.names[1].follow(segment)
        if past is not None and self.touched.is_of(past):
            self.touched.follow(past)


class Reading(NamedTuple):
    """Tables that are being filled."""

    tables: Tables
    thread: threading.Thread

    @classmethod
    def begin(cls, tables: Tables, view: View, past: View | None) -> Reading:
        """Fill tables on a thread of its own."""
        thread = threading.Thread(
            target=tables.read, args=(view, past), name="graph-reading", daemon=True
        )
        thread.start()
        return cls(tables, thread)


class Names:
    """Paths of one segment by what they may be looked up by; paths that are gone included."""

    def __init__(self) -> None:
        self.paths: dict[str, None] = {}
        self._files = 0
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)

    def get(self, name: str) -> list[str]:
        """Paths that may be looked up by a name."""
        return self._by_name.get(name, [])

    def follow(self, segment: Segment) -> None:
        """Add the files that a segment has gained."""
        files = segment.columns.file
        count = int(files[-1]) + 1 if len(files) else 0
        for number in range(self._files, count):
            path = segment.path(number)
            if path not in self.paths:
                self.paths[path] = None
                for name in names_of(path):
                    self._by_name[name].append(path)
        self._files = count


def size_of(view: View, past: View | None) -> int:
    """Files and pieces of past work that there are to read."""
    files = view.segments[0].columns.file
    commits = 0 if past is None else past.chunk_count
    return (int(files[-1]) + 1 if len(files) else 0) + commits
