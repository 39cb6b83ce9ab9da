"""What an archiver is told by its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, field

from contracts.settings import Partitions, Port, Positive

MAX_WAIT_S = 3_600
Wait = Annotated[int, Meta(ge=0, le=MAX_WAIT_S)]


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of the archiver.

    Attributes:
        partitions: how many the queue is cut into, the same for everybody; 0 is not at all.
        metrics_path: the metrics file.
        rotate_bytes: where it is as large, it is put aside under a number and another begun.
        wait_s: how long a line waits for the outcome of its decision.
        waiting: most decisions that wait; where there are more, the oldest are written without.
        health_host: address that `/livez` and `/readyz` answer at.
        health_port: and the port; 0 is off.
        health_file: touched every second while the loop turns.
    """

    redis_url: str | None = field(name="REDIS_URL", default=None)
    data_dir: str = field(name="CORTEX_DATA_DIR", default=".cortex")
    prefix: str = field(name="CORTEX_PREFIX", default="")
    partitions: Partitions = field(name="CORTEX_PARTITIONS", default=0)

    metrics_path: str = field(
        name="METRICS_PATH", default="coordination/metrics/ml-router-metrics.jsonl"
    )
    rotate_bytes: Positive = field(name="METRICS_ROTATE_BYTES", default=256 * 1024 * 1024)
    wait_s: Wait = field(name="METRICS_WAIT_S", default=60)
    waiting: Positive = field(name="METRICS_WAITING", default=100_000)
    health_host: str = field(name="ARCHIVER_HEALTH_HOST", default="127.0.0.1")
    health_port: Port = field(name="ARCHIVER_HEALTH_PORT", default=0)
    health_file: str | None = field(name="ARCHIVER_HEALTH_FILE", default=None)
    log_level: str = field(name="LOG_LEVEL", default="info")

    @property
    def metrics(self) -> Path:
        """The file of decisions."""
        return Path(self.metrics_path)


def late_path(metrics: Path) -> Path:
    """Return the file of outcomes that came late, beside the metrics file."""
    return metrics.with_name(f"{metrics.stem}-late{metrics.suffix}")
