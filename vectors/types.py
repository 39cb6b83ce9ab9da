"""The nouns of the vector store. Everything else in `vectors` and `indexer` speaks in these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


CHANGE = "change"
"""Kind of a chunk that is a piece of past work, see `vectors.memory`."""


class Chunk(Struct, frozen=True, kw_only=True):
    """A stretch of one file that is found as a whole.

    Attributes:
        start_line: 1-based, inclusive.
        end_line: 1-based, inclusive.
        symbol: qualified name of the definition it lies in (`Consumer.claim`), if any.
        kind: `code`, `doc`, `config`, `text` or `change`.
        text: the lines themselves.
    """

    start_line: int
    end_line: int
    kind: str
    text: str
    symbol: str | None = None

    @property
    def embedded_text(self) -> str:
        """What the encoder sees: symbol and body, never the path, so a move re-embeds nothing."""
        return f"{self.symbol}\n{self.searched_text}" if self.symbol else self.searched_text

    @property
    def searched_text(self) -> str:
        """What words are counted in: the text; of past work what was said, not what it touched."""
        return self.text.partition("\n\n")[0] if self.kind == CHANGE else self.text

    def hit(self, collection: str, path: str, score: float) -> Hit:
        """Make a search result of it."""
        return Hit(
            collection=collection,
            path=path,
            start_line=self.start_line,
            end_line=self.end_line,
            symbol=self.symbol,
            kind=self.kind,
            text=self.text,
            score=score,
        )


class FileDelta(Struct, frozen=True, kw_only=True):
    """The new state of one file: all of its chunks with their vectors, or its removal.

    Attributes:
        path: relative to the watched root, `/` separators.
        version: grows by one with every commit of this path; orders deltas of one file.
        content_hash: SHA-256 hex of the file's bytes plus the chunker's version; empty if removed.
        chunks: empty if the file was removed (or holds nothing to index).
        vectors: `len(chunks) * dim` little-endian float16, row-major, each row L2-normalised.
    """

    path: str
    version: int
    content_hash: str
    chunks: list[Chunk]
    vectors: bytes

    @property
    def removed(self) -> bool:
        """Whether the file is gone."""
        return not self.content_hash


class FileState(Struct, frozen=True):
    """What a collection knows of one file, enough to tell whether it is current."""

    version: int
    content_hash: str


class LogPosition(Struct, frozen=True):
    """A place in a delta log.

    Attributes:
        log_id: identity of the log itself; another one means the log was lost and begun anew.
        seq: number of the last entry applied; entries are numbered without gaps.
        entry_id: Redis stream id of that entry, where reading goes on.
    """

    log_id: str = ""
    seq: int = 0
    entry_id: str = "0-0"

    @property
    def id_parts(self) -> tuple[int, int]:
        """The stream id in the form that orders ids."""
        milliseconds, _, number = self.entry_id.partition("-")
        return int(milliseconds), int(number)


class Hit(Struct, frozen=True, kw_only=True):
    """One search result."""

    collection: str
    path: str
    start_line: int
    end_line: int
    symbol: str | None
    kind: str
    text: str
    score: float


class Encoder(Protocol):
    """Turns text into vectors."""

    @property
    def identity(self) -> str:
        """Model, backend and weights; vectors of different identities must never be mixed."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns:
            Array of shape (len(texts), dim), float32, each row L2-normalised.
        """
