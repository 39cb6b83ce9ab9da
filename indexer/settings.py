"""What an indexer is told by its environment."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from secrets import token_hex

from msgspec import Struct, field

from contracts.errors import FatalError
from contracts.settings import NonNegative, Partitions, Port, Positive
from indexer.scan import Rules


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of one indexer process.

    Attributes:
        partitions: how many the queue is cut into, the same for everybody; 0 is not at all.
        root: the directory that is indexed as `collection`.
        roots: several of them instead: `code=/src,docs=/srv/docs`.
        max_file_bytes: larger files do not count.
        chunk_chars: what a chunk aims to stay within.
        snapshot_every_chunks: a snapshot is due when this many chunks changed.
        snapshot_interval_s: and this long after the last one, if anything changed.
        reconcile_interval_s: how often index and disk are compared in full.
        shared_embeddings: vectors kept in Redis for indexers on other hosts; 0 shares none.
        lease_ms: an indexer silent for this long loses what it holds to another.
        max_deliveries: after this many an entry becomes a dead letter unhandled.
    """

    redis_url: str | None = field(name="REDIS_URL", default=None)
    data_dir: str = field(name="CORTEX_DATA_DIR", default=".cortex")
    prefix: str = field(name="CORTEX_PREFIX", default="")
    partitions: Partitions = field(name="CORTEX_PARTITIONS", default=0)
    vectorstore_path: str | None = field(name="VECTORSTORE_PATH", default=None)
    encoder: str | None = field(name="CORTEX_ENCODER", default=None)

    root: str = field(name="CORTEX_ROOT", default=".")
    collection: str = field(name="INDEX_COLLECTION", default="code")
    roots: str | None = field(name="CORTEX_ROOTS", default=None)
    max_file_bytes: Positive = field(name="MAX_FILE_BYTES", default=1 << 20)
    chunk_chars: Positive = field(name="INDEX_CHUNK_CHARS", default=800)
    snapshot_every_chunks: Positive = field(name="SNAPSHOT_EVERY_CHUNKS", default=8_000)
    snapshot_interval_s: Positive = field(name="SNAPSHOT_INTERVAL_S", default=300)
    reconcile_interval_s: Positive = field(name="RECONCILE_INTERVAL_S", default=3_600)

    shared_embeddings: NonNegative = field(name="INDEXER_SHARED_EMBEDDINGS", default=0)
    name: str = field(
        name="INDEXER_NAME",
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{token_hex(3)}",
    )
    batch_size: Positive = field(name="INDEXER_BATCH", default=64)
    lease_ms: Positive = field(name="INDEXER_LEASE_MS", default=15_000)
    max_deliveries: Positive = field(name="INDEXER_MAX_DELIVERIES", default=10)
    health_host: str = field(name="INDEXER_HEALTH_HOST", default="127.0.0.1")
    health_port: Port = field(name="INDEXER_HEALTH_PORT", default=0)
    health_file: str | None = field(name="INDEXER_HEALTH_FILE", default=None)
    log_level: str = field(name="LOG_LEVEL", default="info")

    @property
    def store(self) -> Path:
        """Where snapshots go."""
        return Path(self.vectorstore_path or Path(self.data_dir, "store"))

    @property
    def embedding_cache(self) -> Path:
        """Where vectors of texts seen before are kept."""
        return Path(self.data_dir, "embeddings.sqlite")

    @property
    def rules(self) -> Rules:
        """Which files count and how they are cut."""
        return Rules(max_bytes=self.max_file_bytes, max_chars=self.chunk_chars)

    @property
    def sources(self) -> dict[str, Path]:
        """Directory of each collection.

        Raises:
            FatalError: `CORTEX_ROOTS` is malformed, or a directory is not there.
        """
        given = [part.partition("=") for part in (self.roots or "").split(",") if part.strip()]
        pairs = [(name.strip(), path.strip()) for name, _, path in given]
        pairs = pairs or [(self.collection, self.root)]
        for name, path in pairs:
            if not name or not path or not Path(path).is_dir():
                raise FatalError(f"CORTEX_ROOTS: {name or '?'}={path or '?'} names no directory")
        return {name: Path(path).resolve() for name, path in pairs}
