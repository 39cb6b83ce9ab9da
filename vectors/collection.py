"""A collection of chunks in one process: base and delta, searched while changes are applied.

Searches run on a view that never changes; applying a change publishes the next one. So searches
take no lock, and a change costs what it changes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import FatalError
from vectors.base import Base
from vectors.contents import Contents
from vectors.hits import read_hits
from vectors.log import Gap, refuse_other_encoder
from vectors.manifest import manifest_stamp, read_manifest
from vectors.opening import open_base, open_snapshot
from vectors.search import search, similar_work
from vectors.snapshot import Frozen
from vectors.types import FileDelta, FileState, LogPosition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vectors.log import LogEntry
    from vectors.manifest import SnapshotInfo
    from vectors.memory import Memory, Similar
    from vectors.types import Hit
    from vectors.view import View


class Collection:
    """Files of one code base as searchable chunks.

    Any number of threads may search while one applies.
    """

    def __init__(self, name: str, embedder: str, base: Base, position: LogPosition) -> None:
        self.name = name
        self.embedder = embedder
        self.dim = base.dim
        self._position = position
        self._snapshot = "none"
        self._stamp: tuple[int, int] | None = None
        self._contents = Contents(base)
        self._writing = threading.Lock()
        self._loading = threading.Lock()

    @classmethod
    def empty(
        cls, name: str, dim: int, embedder: str, position: LogPosition | None = None
    ) -> Collection:
        """A collection without files.

        Args:
            name: of the collection.
            dim: width of a vector.
            embedder: identity of the encoder; vectors of two encoders must never be mixed.
            position: where to follow the delta log from; its beginning if left out.
        """
        return cls(name, embedder, Base.empty(dim), position or LogPosition())

    @classmethod
    def open(cls, store: Path, name: str, *, embedder: str | None = None) -> Collection:
        """Open the snapshot a store holds, verified and memory-mapped; see `open_snapshot`.

        Args:
            store: folder of snapshots; may be mounted read-only.
            name: of the collection.
            embedder: identity the snapshot must have been written with; None takes any.

        Raises:
            TransientError: there is no snapshot, or none that is undamaged.
            OtherEncoder: it was written with another encoder.
            FatalError: it was written by another version.
        """
        opened = open_snapshot(store, name, embedder)
        info = opened.info
        collection = cls(name, embedder or info.embedder, opened.base, info.position)
        collection._snapshot, collection._stamp = info.snapshot, opened.stamp
        return collection

    @property
    def generation(self) -> str:
        """Which state a search saw: `<snapshot>+<number of the last log entry>`."""
        return f"{self._snapshot}+{self._position.seq}"

    @property
    def position(self) -> LogPosition:
        """The last log entry applied."""
        return self._position

    @property
    def chunk_count(self) -> int:
        """Chunks that can be found."""
        return self._contents.view.chunk_count

    @property
    def view(self) -> View:
        """What a search sees now; it never changes, the next change publishes another one."""
        return self._contents.view

    @property
    def delta_size(self) -> int:
        """Chunks added or replaced since the base was written: what a new base would save."""
        return self._contents.delta_size

    def files(self) -> dict[str, FileState]:
        """The files that are there now."""
        return {path: state for path, state in self.states().items() if state.content_hash}

    def holds(self, path: str) -> bool:
        """Whether a file is there."""
        return self._contents.holds(path)

    def state(self, path: str) -> FileState | None:
        """What is known of a file: with an empty hash if it was removed, None if it never was."""
        return self._contents.state(path)

    def paths_under(self, prefixes: tuple[str, ...]) -> list[str]:
        """Files that are there and whose path begins with one of the prefixes."""
        return [path for path in self._contents.paths_under(prefixes) if self.holds(path)]

    def states(self) -> dict[str, FileState]:
        """Every file known, removed ones with an empty hash; a commit must exceed its version."""
        return self._contents.states()

    def apply(self, delta: FileDelta) -> bool:
        """Take over the new state of a file; nothing happens unless its version is newer.

        Returns:
            Whether anything changed.

        Raises:
            FatalError: the vectors are not of this collection's width.
        """
        with self._writing:
            return self._contents.apply(delta, self._position.seq)

    def apply_entry(self, entry: LogEntry) -> bool:
        """Apply the next entry of the delta log and move the position to it.

        Entries up to the position are ignored.

        Returns:
            Whether anything changed.

        Raises:
            OtherEncoder: its vectors are of another encoder.
            Gap: the entry before this one is not the last one applied, or it is of another log.
            FatalError: the vectors are not of this collection's width.
        """
        refuse_other_encoder(
            f"entry {entry.position.seq} of {self.name}", entry.embedder, self.embedder
        )
        with self._writing:
            at, to = self._position, entry.position
            if at.log_id not in {"", to.log_id}:
                message = f"{self.name}: entry of log {to.log_id}; {at.log_id} was followed so far"
                raise Gap(message)
            if to.id_parts <= at.id_parts:
                return False
            if entry.before != at.entry_id:
                message = f"{self.name}: entry {to.seq} follows {entry.before}; "
                raise Gap(message + f"the last one applied is entry {at.seq}, {at.entry_id}")
            changed = self._contents.apply(entry.delta, to.seq)
            self._position = to
            return changed

    def search(self, text: str, vector: NDArray[np.float32] | None, k: int = 5) -> list[Hit]:
        """Find the chunks most relevant to a text.

        Args:
            text: any text at all.
            vector: its embedding, shape (dim,), L2-normalised; None searches by words alone.
            k: most results.

        Returns:
            At most k hits, best first; none if nothing is relevant.

        Raises:
            FatalError: the vector is not of this collection's width.
        """
        vectors = None if vector is None else vector[np.newaxis]
        return self.search_batch([text], vectors, k)[0]

    def search_batch(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32] | None,
        k: int = 5,
        memories: Sequence[Memory] | None = None,
    ) -> list[list[Hit]]:
        """Find chunks for several texts at once; `vectors` has shape (len(texts), dim).

        Args:
            texts: any texts at all.
            vectors: their embeddings; None searches by words alone.
            k: most results per text.
            memories: what similar work touched, see `vectors.memory.remember`.

        Raises:
            FatalError: the vectors are not of this collection's width.
        """
        if vectors is not None and vectors.shape != (len(texts), self.dim):
            message = f"{self.name}: vectors of shape {vectors.shape} for {len(texts)} x {self.dim}"
            raise FatalError(message)
        view = self._contents.view
        found = search(view, texts, vectors, k, memories)
        return read_hits(view, found, lambda place: (self.name, place.path))

    def similar_work(
        self, texts: Sequence[str], vectors: NDArray[np.float32] | None, k: int
    ) -> list[Similar]:
        """Find the pieces of past work, one a file, that are most like each text.

        Args:
            texts: n texts.
            vectors: their embeddings, shape (n, dim); None goes by words alone.
            k: most pieces per text, but for those that tie with the last.

        Returns:
            Of each text the pieces with their scores, and how well it fits at all.
        """
        return similar_work(self._contents.view, texts, vectors, k)

    def freeze(self) -> Frozen:
        """The collection as it stands, to write a snapshot from while changes go on."""
        with self._writing:
            contents, position = self._contents, self._position
            segments, changed = contents.view.segments, contents.changed.copy()
        # Reading every file of a large base takes longer than changes should wait.
        states = contents.base.base.states() | changed
        return Frozen(self.name, self.dim, self.embedder, segments, states, position)

    def reload_if_newer(self, store: Path) -> bool:
        """Swap to a snapshot newer than the present base; changes newer than it are kept.

        If the snapshot lies ahead of the position, the position jumps to it. One of another log
        than the one followed is left alone. Costs one `stat` when there is none.

        Returns:
            Whether it swapped.

        Raises:
            TransientError: the newer snapshot is damaged; the present state stays.
            OtherEncoder: it was written with another encoder; the present state stays.
            FatalError: it was written by another version.
        """
        stamp = manifest_stamp(store, self.name)
        if stamp is None or stamp == self._stamp:
            return False
        with self._loading:
            info = read_manifest(store, self.name)
            followed = {"", info.position.log_id} if info else set()
            if not info or info.snapshot == self._snapshot or self._position.log_id not in followed:
                self._stamp = stamp
                return False
            fresh = Contents(open_base(store, info, self.embedder))
            fresh.base.base.held.be_like(self._contents.base.base.held)  # or a search would wait
            with self._writing:
                to, at = info.position, self._position
                # At the same number of another entry, one of the two is no longer in the log.
                if to == at or to.seq < at.seq:
                    fresh.carry_over(self._contents, to.seq)
                    to = at
                self._contents, self._position = fresh, to
                self._snapshot, self._stamp = info.snapshot, stamp
        return True

    def start_again(self, store: Path, info: SnapshotInfo) -> None:
        """Give up everything and be what a snapshot says.

        Raises:
            TransientError: it is damaged; the present state stays.
            OtherEncoder: it was written with another encoder; the present state stays.
        """
        with self._loading:
            fresh = Contents(open_base(store, info, self.embedder))
            with self._writing:
                self._contents, self._position = fresh, info.position
                self._snapshot, self._stamp = info.snapshot, None
