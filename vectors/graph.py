"""What stands around a file: what it imports, what imports it, its tests, what changes with it.

Nothing is written beside the index for this. Files are looked up by name, importers by the words of
their first lines, and an answer is remembered until the collection changes; of the base, which does
not change, what was read stays remembered.
"""

from __future__ import annotations

from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from vectors.graph_tables import Reading, Tables, size_of
from vectors.import_lines import references
from vectors.imports import (
    are_paired,
    bare_name,
    closeness,
    may_import,
    names_of,
)
from vectors.lexical import terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from vectors.collection import Collection
    from vectors.imports import Reference
    from vectors.segment import Segment
    from vectors.view import View

RELATED = 6
"""Paths that a hit is given."""

_SHOWN = 10  # neighbours of one kind
_HEAD_LINES = 100  # imports stand in the first lines of a file
_CANDIDATES = 400  # files whose first lines are read for who imports one
_SMALL = 1_000  # files of a segment that are all looked at where a name is no word
_AT_ONCE = 3_000  # files and pieces of past work that are read while somebody waits: 30 ms
_REMEMBERED = 50_000  # files whose imports are remembered, 500 bytes each


class Neighbourhood(Struct, frozen=True):
    """Paths around a file by kind, each of them best first.

    Attributes:
        imports: what it names in import statements.
        imported_by: what names it.
        tests: its tests; of a test, what it tests.
        changed_with: what past work touched together with it.
    """

    imports: tuple[str, ...] = ()
    imported_by: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    changed_with: tuple[str, ...] = ()

    def related(self, most: int = RELATED) -> list[str]:
        """The best of every kind in turn, each path once; of what changed together, two.

        On six repositories later commits touched those most often (`bench.context`).
        """
        often, also = self.changed_with[::2], self.changed_with[1::2]
        kinds = (often, also, self.tests, self.imports, self.imported_by)
        turns = chain.from_iterable(zip_longest(*kinds))
        return list(islice(dict.fromkeys(filter(None, turns)), most))


class Graph:
    """The graph of one collection. Not for several threads at once."""

    def __init__(self, collection: Collection, history: Collection | None) -> None:
        """Read nothing yet.

        Args:
            collection: whose files are looked at.
            history: what remembers for it.
        """
        self._collection = collection
        self._history = history
        self._tables = Tables()
        self._reading: Reading | None = None
        self._seen: tuple[View, View | None] | None = None
        self._known: dict[str, Neighbourhood] = {}
        self._references: dict[str, tuple[Reference, ...]] = {}
        self._importers: dict[str, list[str]] = {}

    def around(self, path: str) -> Neighbourhood:
        """What stands around a file as the collection is now.

        After a large new base was put in place, it is what is known of the one before for a moment:
        reading its names takes a second for 100,000 files, and nobody is to wait for that.
        """
        self._follow()
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._look(path)
        return known

    def knows(self, path: str) -> bool:
        """Whether `around` answers at once: the path was asked for since the last change."""
        self._follow()
        return path in self._known

    def settle(self) -> None:
        """Wait until what is in place is read: who asks once wants the whole answer."""
        self._follow()
        if self._reading is not None:
            self._reading.thread.join()

    def _follow(self) -> None:
        view, past = self._collection.view, self._history.view if self._history else None
        reading = self._reading
        finished = reading is not None and not reading.thread.is_alive()
        seen = self._seen
        if seen and seen[0] is view and seen[1] is past and not finished:
            return
        self._seen, self._known = (view, past), {}
        if reading is not None and finished:
            self._tables, self._reading = reading.tables, None
            self._references, self._importers = {}, {}
        if len(self._references) > _REMEMBERED:
            self._references, self._importers = {}, {}
        if not self._tables.are_of(view, past) and self._reading is None:
            fresh = Tables()
            if size_of(view, past) <= _AT_ONCE:
                fresh.read(view, past)
                self._tables = fresh
            else:
                self._reading = Reading.begin(fresh, view, past)
            self._references, self._importers = {}, {}
        self._tables.follow(view, past)

    def _look(self, path: str) -> Neighbourhood:
        together = self._tables.touched.with_path(path)

        def ordered(paths: Iterable[str]) -> tuple[str, ...]:
            best = sorted(
                set(paths) - {path},
                key=lambda each: (-together.get(each, 0), -closeness(path, each), each),
            )
            return tuple(islice(filter(self._collection.holds, best), _SHOWN))

        namesakes = self._named(bare_name(path))
        return Neighbourhood(
            imports=ordered(self._imports(path)),
            imported_by=ordered(self._imported_by(path)),
            tests=ordered(each for each in namesakes if are_paired(path, each)),
            changed_with=ordered(together),
        )

    def _imports(self, path: str) -> Iterator[str]:
        """The file that each reference means; of several the closest."""
        for segment in self._view.segments:
            for reference in self._references_of(segment, path):
                meant = [
                    each
                    for each in self._named(reference.parts[-1].lower())
                    if may_import(path, each) and reference.means(each)
                ]
                closest = sorted(meant, key=lambda each: (-closeness(path, each), each))
                yield from islice(filter(self._collection.holds, closest), 1)

    def _imported_by(self, path: str) -> Iterator[str]:
        for number, segment in enumerate(self._view.segments):
            importers = self._importers.get(path) if number == 0 else None
            if importers is None:
                importers = self._find_importers(number, segment, path)
                if number == 0:
                    self._importers[path] = importers
            yield from (each for each in importers if segment.chunks_of(each))

    def _find_importers(self, number: int, segment: Segment, path: str) -> list[str]:
        """Files of a segment that import one, among those that mention its name."""
        names = names_of(path)
        ends = names | {path.rpartition("/")[0].rpartition("/")[2].lower()}  # a package is a folder
        mentioning = dict.fromkeys(
            each for name in names for each in self._mentioning(number, segment, name)
        )
        return [
            each
            for each in mentioning
            if may_import(each, path)
            and any(
                reference.parts[-1].lower() in ends and reference.means(path)
                for reference in self._references_of(segment, each)
            )
        ]

    def _mentioning(self, number: int, segment: Segment, name: str) -> list[str]:
        """Files in whose first lines a name stands."""
        words = list(dict.fromkeys(terms(name)))
        if not words:
            paths = self._tables.names[min(number, 1)].paths
            return list(paths) if len(paths) <= _SMALL else []
        found = segment.postings(words)
        if len(found) < len(words):
            return []
        ids = min((posting.ids for posting in found.values()), key=len)
        for posting in found.values():
            ids = ids[_is_in(ids, posting.ids)]
        ids = ids[segment.alive[ids] & (segment.columns.start_line[ids] <= _HEAD_LINES)]
        files = np.unique(segment.columns.file[ids])[:_CANDIDATES]
        return [segment.path(int(file)) for file in files]

    def _references_of(self, segment: Segment, path: str) -> tuple[Reference, ...]:
        chunks = segment.chunks_of(path)
        if not chunks:
            return ()
        base = segment is self._view.segments[0]
        known = self._references.get(path) if base else None
        if known is None:
            lines = segment.columns.start_line
            head = [id_ for id_ in chunks if lines[id_] <= _HEAD_LINES]
            text = "\n".join(chunk.text for chunk in segment.chunks(head))
            known = references(path, text)
            if base:
                self._references[path] = known
        return known

    def _named(self, name: str) -> list[str]:
        """Files that may be looked up by a name, those that are gone included."""
        return list(
            dict.fromkeys(chain.from_iterable(each.get(name) for each in self._tables.names))
        )

    @property
    def _view(self) -> View:
        return self._collection.view if self._seen is None else self._seen[0]


def _is_in(ids: NDArray[np.int32], among: NDArray[np.int32]) -> NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(among, ids), len(among) - 1)
    return np.asarray(among[at] == ids)
