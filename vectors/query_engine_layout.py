"""How a collection lies in a Redis with the Query Engine: names of keys, fields of a chunk.

One index holds the chunks of all collections and tenants of one encoder, so that vectors of two
encoders never meet; tenant and collection are fields that every search filters by. Beside the
chunks a collection has three hashes: `meta` (position in the delta log, sizes), `files` (path to
version, content hash and number of chunks) and `terms` (term to the number of chunks it is in).
While it starts again, `gone` has the files whose chunks are still to be removed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from vectors.lexical import PATH_MARK, chunk_terms, terms
from vectors.types import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vectors.types import FileDelta

_NOT_PLAIN = re.compile(r"(\W)")
_EF_CONSTRUCTION = 200
_LINKS = 16
"""HNSW's M and the width of its construction, as Malkov & Yashunin, 2018 (arXiv:1603.09320),
section 4.1 have them; searches are wider (`query_engine_search`)."""


class FileRow(Struct, frozen=True, array_like=True):
    """What is known of a file; the hash is empty if it was removed."""

    version: int
    content_hash: str
    chunks: int


class ChunkRow(Struct, frozen=True, array_like=True):
    """What ranking needs of a chunk besides its vector.

    Attributes:
        counts: weighted occurrences by term; a term of the path carries `PATH_MARK`.
        length: in terms.
    """

    path: str
    start_line: int
    length: int
    counts: dict[str, int]


NO_FILE = FileRow(0, "", 0)
file_row = msgspec.msgpack.Decoder(FileRow)
chunk_row = msgspec.msgpack.Decoder(ChunkRow)
chunk_body = msgspec.msgpack.Decoder(Chunk)
encode = msgspec.msgpack.encode


@dataclass(frozen=True, slots=True)
class Layout:
    """Names for one collection of one tenant under one encoder."""

    tenant: str
    collection: str
    embedder: str
    dim: int

    @property
    def index(self) -> str:
        """The search index of this encoder."""
        digest = hashlib.sha256(f"{self.embedder}\0{self.dim}".encode()).hexdigest()[:12]
        return f"cortex:{digest}"

    @property
    def chunk_prefix(self) -> str:
        """What every key of a chunk of this encoder begins with."""
        return f"{self.index}:chunk:"

    def key(self, name: str) -> str:
        """A key of this collection: of one of its hashes, or of who fills it."""
        return f"{self.index}:{name}:{self.tenant}:{self.collection}"

    def chunk_keys(self, path: str, row: FileRow) -> list[str]:
        """Keys of the chunks of a file; those of another version of it are others."""
        owner = f"{self.tenant}\0{self.collection}\0{path}"
        digest = hashlib.sha256(owner.encode(errors="surrogatepass")).hexdigest()[:24]
        begin = f"{self.chunk_prefix}{digest}:{row.version}"
        return [f"{begin}:{number}" for number in range(row.chunks)]

    @property
    def scope(self) -> str:
        """The filter that every query begins with."""
        return f"@tenant:{{{tag(self.tenant)}}} @collection:{{{tag(self.collection)}}}"

    def create(self) -> list[str | int]:
        """The command that makes the index."""
        vector: list[str | int] = ["VECTOR", "HNSW", 10, "TYPE", "FLOAT16", "DIM", self.dim]
        vector += ["DISTANCE_METRIC", "IP", "M", _LINKS, "EF_CONSTRUCTION", _EF_CONSTRUCTION]
        return [
            *("FT.CREATE", self.index, "ON", "HASH", "PREFIX", 1, self.chunk_prefix),
            *("STOPWORDS", 0, "SCHEMA", "tenant", "TAG", "collection", "TAG"),
            *("terms", "TEXT", "NOSTEM", "vector", *vector),
        ]

    def chunks(self, delta: FileDelta) -> Iterator[tuple[ChunkRow, dict[str, str | bytes]]]:
        """What ranking needs of each chunk of a file, and the fields of its hash."""
        path_terms = terms(delta.path)
        vectors = np.frombuffer(delta.vectors, "<f2").reshape(-1, self.dim)
        for number, chunk in enumerate(delta.chunks):
            counts, length = chunk_terms(path_terms, chunk)
            row = ChunkRow(delta.path, chunk.start_line, length, dict(counts))
            said = (term for term in counts.elements() if not term.startswith(PATH_MARK))
            fields: dict[str, str | bytes] = {
                "tenant": self.tenant,
                "collection": self.collection,
                "terms": " ".join(said),
                "row": encode(row),
                "body": encode(chunk),
            }
            if len(vectors):  # else not embedded yet: found by its words alone
                fields["vector"] = vectors[number].tobytes()
            yield row, fields


def tenant_of(prefix: str) -> str:
    """The tenant that a prefix of keys stands for; a tag may not be empty."""
    return f"={prefix}"


def tag(value: str) -> str:
    """A value as a query's tag filter takes it."""
    return _NOT_PLAIN.sub(r"\\\1", value)
