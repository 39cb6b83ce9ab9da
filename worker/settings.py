"""What a worker is told by its environment."""

from __future__ import annotations

import os
import socket
from importlib.resources import files
from pathlib import Path
from secrets import token_hex
from typing import Literal

from msgspec import Struct, field

from contracts.errors import FatalError
from contracts.messages import RolloutConfig
from contracts.settings import Fraction, Partitions, Port, Positive


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of one worker process.

    Percentage, switches and experiment hold until `control:rollout` says otherwise.

    Attributes:
        model_path: registry of models, or the folder of one; by default `models` in `data_dir`,
            and where that names no champion the packaged model.
        partitions: how many the queue is cut into, the same for everybody; 0 is not at all.
        vector_engine: where the index is searched: in each worker, or in a Redis with the Query
            Engine, which all of them share.
        vector_redis_url: that Redis; never the queue's, which a search would hold up.
        lease_ms: a worker silent for this long loses what it holds to another.
        max_deliveries: after this many an entry becomes a dead letter unhandled.
        idempotency_seconds: how long a task id is remembered as decided.
        context_chunks: places in the code attached to a decision at most.
        context_chars: characters of text per place at most.
        index_age_s: context from an index that lags behind the files for longer is `limited`.
        health_host: address that `/livez` and `/readyz` answer at; `0.0.0.0` for probes from
            outside the container.
        health_port: and the port; 0 is off.
        health_file: touched every second while the loop turns.
        decisions_days: how long `decisions` and `outcomes` keep what every group has read.
        decisions_max: most entries that either keeps of it, in each partition.
        pause_at: share of the server's `maxmemory` at which nothing more is read.
        resume_below: share below which reading goes on.
    """

    ab_test_percentage: Fraction = field(name="AB_TEST_PERCENTAGE", default=0.0)
    enable_neural: bool = field(name="ENABLE_NEURAL", default=True)
    enable_rag: bool = field(name="ENABLE_RAG", default=True)
    model_path: str | None = field(name="MODEL_PATH", default=None)
    vectorstore_path: str | None = field(name="VECTORSTORE_PATH", default=None)

    vector_engine: Literal["embedded", "redis"] = field(name="VECTOR_ENGINE", default="embedded")
    vector_redis_url: str | None = field(name="VECTOR_REDIS_URL", default=None)

    redis_url: str | None = field(name="REDIS_URL", default=None)
    data_dir: str = field(name="CORTEX_DATA_DIR", default=".cortex")
    prefix: str = field(name="CORTEX_PREFIX", default="")
    partitions: Partitions = field(name="CORTEX_PARTITIONS", default=0)
    experiment: str = field(name="CORTEX_EXPERIMENT", default="router")
    masters_file: str | None = field(name="CORTEX_MASTERS", default=None)
    rules_file: str | None = field(name="CORTEX_RULES", default=None)
    encoder: str | None = field(name="CORTEX_ENCODER", default=None)

    name: str = field(
        name="WORKER_NAME",
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{token_hex(3)}",
    )
    batch_size: Positive = field(name="WORKER_BATCH", default=256)
    lease_ms: Positive = field(name="WORKER_LEASE_MS", default=5_000)
    max_deliveries: Positive = field(name="WORKER_MAX_DELIVERIES", default=5)
    idempotency_seconds: Positive = field(name="WORKER_IDEMPOTENCY_S", default=600)
    context_chunks: Positive = field(name="WORKER_CONTEXT_CHUNKS", default=5)
    context_chars: Positive = field(name="WORKER_CONTEXT_CHARS", default=1_500)
    index_age_s: Positive = field(name="WORKER_INDEX_AGE_S", default=60)
    health_host: str = field(name="WORKER_HEALTH_HOST", default="127.0.0.1")
    health_port: Port = field(name="WORKER_HEALTH_PORT", default=0)
    health_file: str | None = field(name="WORKER_HEALTH_FILE", default=None)
    decisions_days: Positive = field(name="WORKER_DECISIONS_DAYS", default=7)
    decisions_max: Positive = field(name="WORKER_DECISIONS_MAX", default=1_000_000)
    pause_at: Fraction = field(name="WORKER_PAUSE_AT", default=0.80)
    resume_below: Fraction = field(name="WORKER_RESUME_BELOW", default=0.75)
    log_level: str = field(name="LOG_LEVEL", default="info")

    @property
    def store(self) -> Path:
        """Where snapshots are."""
        return Path(self.vectorstore_path or Path(self.data_dir, "store"))

    @property
    def vectors_at(self) -> str | None:
        """Address of the Redis of the vectors; None where each worker has them.

        Raises:
            FatalError: it is missing, or that of the queue.
        """
        if self.vector_engine == "embedded":
            return None
        if not self.vector_redis_url or self.vector_redis_url == self.redis_url:
            raise FatalError("VECTOR_ENGINE=redis needs a VECTOR_REDIS_URL other than the queue's")
        return self.vector_redis_url

    @property
    def fresh_config(self) -> RolloutConfig:
        """The configuration of a deployment in which nothing was ever set."""
        return RolloutConfig(
            percentage=self.ab_test_percentage,
            enable_neural=self.enable_neural,
            enable_rag=self.enable_rag,
            experiment=self.experiment,
        )

    @property
    def masters_text(self) -> str:
        """Text of the masters' file, ours or the operator's."""
        return _read(self.masters_file, "masters.toml")

    @property
    def rules_text(self) -> str:
        """Text of the rules' file, ours or the operator's."""
        return _read(self.rules_file, "rules.toml")


def _read(path: str | None, default: str) -> str:
    try:
        return Path(path).read_text() if path else files("router").joinpath(default).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FatalError(f"cannot read {path}: {error}") from error
