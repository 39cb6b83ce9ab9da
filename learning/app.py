"""The learner process: everything is wired here, and nowhere else."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import structlog

from contracts.settings import load, redacted
from learning.dataset import Dataset
from learning.intake import Intake
from learning.settings import Settings
from streams.connect import FOREVER, connect
from streams.consumer import Consumer
from streams.keys import LEARNING
from streams.lane import Lane
from streams.partitions import aside, layout
from streams.pump import Pump, PumpSettings
from telemetry.health import Health
from telemetry.logs import configure

log = structlog.get_logger(__name__)

_BATCH_SECONDS = 1.0  # collecting takes microseconds: batches are as large as they may be
_HUNG_S = 600.0  # merging a large data set takes minutes
_DAY_MS = 24 * 3600 * 1000


def main() -> int:
    """Keep the data set until TERM or INT, then write what is held; returns the exit code.

    Raises:
        FatalError: the settings or the surroundings do not allow a learner to run.
    """
    settings = load(Settings, os.environ)
    configure("learner", settings.log_level)
    log.info("starting", **redacted(settings))

    parts = layout(settings.prefix, settings.partitions)
    outcomes = parts[0].outcomes
    dataset = Dataset(settings.dataset)
    version = dataset.version  # damaged, it is said before anything is read
    client = connect(
        settings.redis_url, data_dir=Path(settings.data_dir), role="learner", patience=FOREVER
    )

    def consumer(stream: str) -> Consumer:
        return Consumer(client, (stream,), LEARNING, settings.name, settings.lease_ms)

    lanes = [
        Lane(consumer(outcomes), aside(client, settings.prefix, "outcomes")),
        *(Lane(consumer(part.decisions), part) for part in parts),
    ]
    # Lanes share what may be held: a single busy one must be able to fill a batch.
    most = settings.batch_size * len(lanes)
    pump = Pump(lanes, client, PumpSettings(max_batch=most, target_seconds=_BATCH_SECONDS))
    intake = Intake(
        dataset=dataset,
        settle=pump.settle,
        outcomes=outcomes,
        batch_size=settings.batch_size,
        flush_seconds=settings.flush_seconds,
        max_deliveries=settings.max_deliveries,
        retention_ms=settings.retention_days * _DAY_MS,
    )
    health = Health(
        lambda: {"queue": pump.connected, "dataset": intake.writable},
        Path(settings.health_file) if settings.health_file else None,
        stale_seconds=_HUNG_S,
    )
    if settings.health_port:
        health.serve(settings.health_port, settings.health_host)

    stopping = threading.Event()

    def stop() -> None:
        stopping.set()
        pump.stop()

    def tick() -> None:
        intake.flush_if_due(stopping=stopping.is_set())
        intake.tidy_if_due()
        health.beat()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=stop).start())
    pump.start()
    log.info("reading", name=settings.name, partitions=settings.partitions, version=version)
    try:
        for batch in pump.batches(tick):
            intake.take(batch)
    finally:
        pump.close()
        log.info("stopped", version=dataset.version, **intake.tally)
    return 0
