"""What search and snapshots need from a stretch of a collection, be it base or delta.

A segment numbers its chunks 0..size-1 and its files likewise; chunks of one file stand together.
Segments never change once handed out: an update hands out new ones with another `alive` mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vectors.lexical import Posting
    from vectors.rough import Rough
    from vectors.types import Chunk


class Columns(NamedTuple):
    """One number per chunk of a segment, each of shape (size,), int32."""

    file: NDArray[np.int32]
    length: NDArray[np.int32]
    start_line: NDArray[np.int32]


class Neighbours(NamedTuple):
    """Nearest live chunks of each query; `ids` is -1 where there were fewer than asked for.

    Attributes:
        ids: shape (n, k), int64.
        scores: shape (n, k), float32 cosine.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]


class Segment(Protocol):
    """A numbered run of chunks, of which those marked `alive` count."""

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Shape (size,): chunks that were not replaced since."""

    @property
    def columns(self) -> Columns:
        """File number, length in terms and first line of each chunk."""

    def path(self, file: int) -> str:
        """Path of a file by its number in this segment."""

    def chunks_of(self, path: str) -> range:
        """Live chunks of a file; empty if it has none in this segment."""

    def postings(self, terms: Sequence[str]) -> dict[str, Posting]:
        """Where the given terms occur, replaced chunks included; absent terms are left out."""

    def all_postings(self) -> Iterator[tuple[str, Posting]]:
        """Every term in ascending order, replaced chunks included."""

    def nearest(self, vectors: NDArray[np.float32], k: int) -> Neighbours:
        """Live chunks nearest to each row of `vectors`, shape (n, dim)."""

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of the given chunks, shape (len(ids), dim)."""

    def matrix(self) -> NDArray[np.float32] | None:
        """Every vector, replaced ones included: (size, dim); None where that is too much."""

    def rough(self) -> Rough | None:
        """The same in 8 bits, to compare roughly first; None where that does not pay."""

    def chunks(self, ids: Sequence[int]) -> list[Chunk]:
        """The chunks themselves, in the order asked for."""
