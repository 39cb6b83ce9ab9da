"""What is asked of whatever keeps a collection: the one in memory, or the Redis Query Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from vectors.log import LogEntry
    from vectors.manifest import SnapshotInfo
    from vectors.memory import Memory, Similar
    from vectors.types import FileDelta, Hit, LogPosition
    from vectors.view import View


class Searched(Protocol):
    """A collection that can be searched; `vectors.collection.Collection` says what each does."""

    name: str
    dim: int

    @property
    def view(self) -> View | None:
        """What a search sees; None where it is not in this process."""

    @property
    def chunk_count(self) -> int:
        """Chunks that can be found."""

    @property
    def generation(self) -> str:
        """Which state a search saw."""

    def holds(self, path: str) -> bool:
        """Whether a file is there."""

    def search(self, text: str, vector: NDArray[np.float32] | None, k: int = 5) -> list[Hit]:
        """Find the chunks most relevant to a text."""

    def search_batch(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32] | None,
        k: int = 5,
        memories: Sequence[Memory] | None = None,
    ) -> list[list[Hit]]:
        """Find chunks for several texts at once."""

    def similar_work(
        self, texts: Sequence[str], vectors: NDArray[np.float32] | None, k: int
    ) -> list[Similar]:
        """Find the pieces of past work most like each text."""


class Followed(Protocol):
    """A collection that a delta log is followed into."""

    name: str

    @property
    def position(self) -> LogPosition:
        """The last log entry applied."""

    @property
    def chunk_count(self) -> int:
        """Chunks that can be found."""

    def apply_entry(self, entry: LogEntry) -> bool:
        """Apply the next entry of the delta log and move the position to it."""

    def reload_if_newer(self, store: Path) -> bool:
        """Take over a snapshot that is newer than what is there."""

    def start_again(self, store: Path, info: SnapshotInfo) -> None:
        """Give up everything and be what a snapshot says."""


class Engine(Searched, Followed, Protocol):
    """Both: what a worker has of each collection."""

    def apply(self, delta: FileDelta) -> bool:
        """Take over the new state of a file; nothing happens unless its version is newer."""
