"""What a learner is told by its environment."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from secrets import token_hex

from msgspec import Struct, field

from contracts.settings import Partitions, Port, Positive


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of one learner process.

    Attributes:
        partitions: how many the queue is cut into, the same for everybody; 0 is not at all.
        batch_size: most entries written to the data set at once.
        flush_seconds: what was read is written after this long, however little it is.
        lease_ms: a learner silent for this long loses what it holds to another.
        max_deliveries: after this many an entry becomes a dead letter unhandled.
        retention_days: how long decisions wait for an outcome, and outcomes for their decision.
    """

    redis_url: str | None = field(name="REDIS_URL", default=None)
    data_dir: str = field(name="CORTEX_DATA_DIR", default=".cortex")
    prefix: str = field(name="CORTEX_PREFIX", default="")
    partitions: Partitions = field(name="CORTEX_PARTITIONS", default=0)

    name: str = field(
        name="LEARNER_NAME",
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{token_hex(3)}",
    )
    batch_size: Positive = field(name="LEARNER_BATCH", default=512)
    flush_seconds: Positive = field(name="LEARNER_FLUSH_S", default=5)
    lease_ms: Positive = field(name="LEARNER_LEASE_MS", default=15_000)
    max_deliveries: Positive = field(name="LEARNER_MAX_DELIVERIES", default=10)
    retention_days: Positive = field(name="LEARNER_RETENTION_DAYS", default=30)
    health_host: str = field(name="LEARNER_HEALTH_HOST", default="127.0.0.1")
    health_port: Port = field(name="LEARNER_HEALTH_PORT", default=0)
    health_file: str | None = field(name="LEARNER_HEALTH_FILE", default=None)
    log_level: str = field(name="LOG_LEVEL", default="info")

    @property
    def dataset(self) -> Path:
        """Where the data set is."""
        return dataset_folder(self.data_dir)


def dataset_folder(data_dir: str | Path) -> Path:
    """Return where the data set of a deployment is."""
    return Path(data_dir, "dataset")
