"""A collection in a Redis with the Query Engine: for indexes beyond the memory of one host.

It follows the delta log as a collection in memory does, but all processes share it: whoever reads
an entry first puts it in, in one transaction with the position, and the others find it done. The
Redis must be one of its own: a search there would hold up a queue.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from redis.exceptions import RedisError, ResponseError

from contracts.errors import FatalError, TransientError
from vectors.collection import Collection
from vectors.deltas import deltas_of
from vectors.log import refuse_other_encoder
from vectors.manifest import manifest_stamp, read_manifest
from vectors.memory import Memory, Similar, Work
from vectors.naming import or_named
from vectors.query_engine_layout import Layout, chunk_body, file_row, tenant_of
from vectors.query_engine_search import gather, stand_together
from vectors.query_engine_writer import Writer
from vectors.relevance import evidence
from vectors.search import are_about, best, fuse
from vectors.types import FileState, Hit, LogPosition
from vectors.view import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from redis import Redis

    from vectors.log import LogEntry
    from vectors.manifest import SnapshotInfo
    from vectors.query_engine_search import Found
    from vectors.types import FileDelta


class EngineCollection:
    """What `Collection` is to one process, to all of them. Threads may share it."""

    view = None
    """There are no segments here to read."""

    def __init__(self, client: Redis, name: str, *, prefix: str, embedder: str, dim: int) -> None:
        """Make the index, if it is not there.

        Args:
            client: of a Redis with the Query Engine; replies in bytes.
            name: of the collection.
            prefix: of the deployment's keys, which tells tenants of one server apart.
            embedder: identity of the encoder.
            dim: width of a vector.

        Raises:
            TransientError: the server could not be reached.
            FatalError: it has no Query Engine.
        """
        self.name = name
        self.embedder = embedder
        self.dim = dim
        self._client = client
        self._layout = Layout(tenant_of(prefix), name, embedder, dim)
        self._writer = Writer(client, self._layout)
        self._stamp: tuple[int, int] | None = None
        with _translated():
            try:
                client.execute_command(*self._layout.create())  # type: ignore[no-untyped-call]  # as redis-py has it
            except ResponseError as error:
                if "already exists" not in str(error).lower():
                    raise FatalError(f"no Redis Query Engine at hand: {error}") from error

    @property
    def position(self) -> LogPosition:
        """The last log entry applied, by whomever."""
        with _translated():
            return self._writer.meta().position

    @property
    def generation(self) -> str:
        """Which state a search saw: `<snapshot>+<number of the last log entry>`."""
        with _translated():
            meta = self._writer.meta()
        return f"{meta.snapshot}+{meta.position.seq}"

    @property
    def chunk_count(self) -> int:
        """Chunks that can be found."""
        with _translated():
            return self._writer.meta().chunks

    def files(self) -> dict[str, FileState]:
        """The files that are there now."""
        return {path: state for path, state in self.states().items() if state.content_hash}

    def states(self) -> dict[str, FileState]:
        """Every file known, removed ones with an empty hash."""
        with _translated():
            found: Any = self._client.hgetall(self._layout.key("files"))
        return {path.decode(): _state(row) for path, row in found.items()}

    def state(self, path: str) -> FileState | None:
        """What is known of a file: with an empty hash if it was removed, None if it never was."""
        with _translated():
            row: Any = self._client.hget(self._layout.key("files"), path)
        return None if row is None else _state(row)

    def holds(self, path: str) -> bool:
        """Whether a file is there."""
        state = self.state(path)
        return state is not None and bool(state.content_hash)

    def apply(self, delta: FileDelta) -> bool:
        """Take over the new state of a file; nothing happens unless its version is newer.

        Returns:
            Whether anything changed.

        Raises:
            TransientError: the server could not be reached.
            FatalError: the vectors are not of this collection's width.
        """
        with _translated():
            return self._writer.replace(delta)

    def apply_entry(self, entry: LogEntry) -> bool:
        """Apply the next entry of the delta log and move the position to it, in one step.

        Entries up to the position are ignored: they are in, whoever put them there.

        Returns:
            Whether this changed anything.

        Raises:
            OtherEncoder: its vectors are of another encoder.
            Gap: the entry before this one is not the last one applied, or it is of another log.
            TransientError: the server could not be reached.
            FatalError: the vectors are not of this collection's width.
        """
        where = f"entry {entry.position.seq} of {self.name}"
        refuse_other_encoder(where, entry.embedder, self.embedder)
        with _translated():
            return self._writer.replace(entry.delta, entry)

    def search(self, text: str, vector: NDArray[np.float32] | None, k: int = 5) -> list[Hit]:
        """Find the chunks most relevant to a text; see `Collection.search`."""
        vectors = None if vector is None else vector[np.newaxis]
        return self.search_batch([text], vectors, k)[0]

    def search_batch(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32] | None,
        k: int = 5,
        memories: Sequence[Memory] | None = None,
    ) -> list[list[Hit]]:
        """Find chunks for several texts at once; see `Collection.search_batch`.

        Raises:
            TransientError: the server could not be asked.
            FatalError: the vectors are not of this collection's width.
        """
        if vectors is not None and vectors.shape != (len(texts), self.dim):
            message = f"{self.name}: vectors of shape {vectors.shape} for {len(texts)} x {self.dim}"
            raise FatalError(message)
        if k < 1 or not texts:
            return [[] for _ in texts]
        found = self._gather(texts, vectors, memories)

        def place(row: int) -> Place:
            chunk = found.chunks[row].row
            return Place(chunk.path, chunk.start_line, 0, row)

        ranked = fuse(found.candidates, len(texts), k, place)
        if vectors is not None and memories is not None:
            fits = are_about(found.candidates, found.size, memories)
            with _translated():
                together = partial(stand_together, self._client, self._layout)
                fits = or_named(fits, texts, together)
            ranked = [each if fit else [] for each, fit in zip(ranked, fits, strict=True)]
        return [[self._hit(found, *each) for each in of_text] for of_text in ranked]

    def similar_work(
        self, texts: Sequence[str], vectors: NDArray[np.float32] | None, k: int
    ) -> list[Similar]:
        """Find the pieces of past work most like each text; see `Collection.similar_work`."""
        nothing = [Similar([], np.empty(0), 0.0)] * len(texts)
        if k < 1 or not texts:
            return nothing
        found = self._gather(texts, vectors, None)
        candidates = found.candidates
        rows, of, scores = best(candidates, k)
        there = (found.chunks[row] for row in rows.tolist())
        work = [Work.read(each.row.path, chunk_body.decode(each.body).text) for each in there]
        ends = np.searchsorted(of, np.arange(len(texts) + 1)).tolist()
        fits = evidence(
            candidates.text,
            candidates.dense,
            candidates.coverage,
            texts=len(texts),
            size=found.size,
        )
        return [
            Similar(work[begin:end], scores[begin:end], strength)
            for (begin, end), strength in zip(pairwise(ends), fits.strength.tolist(), strict=True)
        ]

    def reload_if_newer(self, store: Path) -> bool:
        """Fill in a snapshot that is ahead of the position; what is newer stays.

        Returns:
            Whether this did; another process may be at it.

        Raises:
            TransientError: the snapshot is damaged, or the server could not be reached.
            OtherEncoder: it was written with another encoder.
            FatalError: it was written by another version.
        """
        stamp = manifest_stamp(store, self.name)
        if stamp is None or stamp == self._stamp:
            return False
        info = read_manifest(store, self.name)
        with _translated():
            at, _, chunks = self._writer.meta()
        ours = info is not None and at.log_id in {"", info.position.log_id}
        if info is None or not ours or (chunks and info.position.seq <= at.seq):
            self._stamp = stamp
            return False
        return self._fill(store, info)

    def start_again(self, store: Path, info: SnapshotInfo) -> None:
        """Give up everything and be what a snapshot says, unless another process is at it.

        Raises:
            TransientError: it is damaged, or the server could not be reached.
            OtherEncoder: it was written with another encoder; the present state stays.
        """
        self._fill(store, info, instead_of=self.position)

    def clear(self) -> None:
        """Remove everything.

        Raises:
            TransientError: the server could not be reached.
        """
        with _translated():
            self._writer.clear()

    def _fill(
        self, store: Path, info: SnapshotInfo, *, instead_of: LogPosition | None = None
    ) -> bool:
        opened = Collection.open(store, self.name, embedder=self.embedder)
        deltas = deltas_of(opened.freeze())
        with _translated():
            return self._writer.fill(deltas, opened.position, info.snapshot, instead_of=instead_of)

    def _gather(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32] | None,
        memories: Sequence[Memory] | None,
    ) -> Found:
        known = memories or [Memory()] * len(texts)
        with _translated():
            return gather(self._client, self._layout, texts, vectors, known)

    def _hit(self, found: Found, place: Place, score: float) -> Hit:
        body = found.chunks[place.id].body
        return chunk_body.decode(body).hit(self.name, place.path, score)


def _state(row: bytes) -> FileState:
    read = file_row.decode(row)
    return FileState(read.version, read.content_hash)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ResponseError as error:
        raise FatalError(f"vector Redis refused: {error}") from error
    except RedisError as error:
        raise TransientError(f"vector Redis: {error}") from error
