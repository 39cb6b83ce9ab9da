"""The indexer process: everything is wired here, and nowhere else."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from contracts.settings import load, redacted
from indexer.apply import Indexer
from indexer.chronicler import Chronicler
from indexer.commit import Ledger
from indexer.currency import Currency
from indexer.finished import Finished
from indexer.handle import Handler
from indexer.historian import Historian
from indexer.settings import Settings
from indexer.snapshots import Snapshots
from indexer.spare_time import SpareTime
from indexer.takeover import take_over
from indexer.upkeep import Upkeep
from streams.connect import FOREVER, connect
from streams.consumer import Consumer
from streams.keys import INDEXERS, Keys
from streams.lane import Lane
from streams.partitions import aside, layout
from streams.pump import Pump, PumpSettings
from telemetry.health import Health
from telemetry.logs import configure
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.memory import HISTORY
from vectors.shared_cache import SharedEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from streams.entry import Settlement
    from streams.settle import Verdict
    from vectors.types import Encoder

log = structlog.get_logger(__name__)

_BATCH_SECONDS = 1.0  # what a batch should take: short enough to share, long enough to batch
_PATIENCE_S = 0.5  # of it, for encoding


def main() -> int:
    """Run an indexer until TERM or INT, then drain; returns the exit code.

    Raises:
        FatalError: the settings or the surroundings do not allow an indexer to run.
    """
    settings = load(Settings, os.environ)
    configure("indexer", settings.log_level)
    log.info("starting", **redacted(settings))

    sources = settings.sources
    keys = Keys(settings.prefix)
    client = connect(
        settings.redis_url, data_dir=Path(settings.data_dir), role="indexer", patience=FOREVER
    )
    encoder = _encoder(settings, client, keys)
    tally: Counter[str] = Counter()

    def count(_batch: Sequence[Settlement], verdicts: Sequence[Verdict]) -> None:
        tally.update(verdicts)

    consumer = Consumer(client, (keys.files,), INDEXERS, settings.name, settings.lease_ms)
    pump = Pump(
        [Lane(consumer, aside(client, settings.prefix))],
        client,
        PumpSettings(max_batch=settings.batch_size, target_seconds=_BATCH_SECONDS),
        count,
    )
    health = Health(
        lambda: {"queue": pump.connected},
        Path(settings.health_file) if settings.health_file else None,
    )
    if settings.health_port:
        health.serve(settings.health_port, settings.health_host)

    take_over(
        client,
        keys=keys,
        store=settings.store,
        sources=sources,
        rules=settings.rules,
        encoder=encoder,
        beat=health.beat,
    )

    ledger = partial(Ledger, client, keys, settings.store)
    ledgers = {name: ledger(name, encoder) for name in sources}
    memories = {name: ledger(name + HISTORY, encoder) for name in sources}

    def beat() -> None:
        health.beat()
        currency.say_if_due()

    indexers = {
        name: Indexer(root, settings.rules, ledgers[name], encoder, beat, _PATIENCE_S)
        for name, root in sources.items()
    }

    def snapshots(of: Ledger) -> Snapshots:
        every = settings.snapshot_every_chunks
        return Snapshots(client, keys, of, settings.store, every, settings.snapshot_interval_s)

    def remembering(name: str, of: Ledger) -> tuple[Chronicler, Historian]:
        finished = Finished(client, layout(settings.prefix, settings.partitions))
        only = len(sources) == 1
        return (
            Chronicler(finished, ledgers[name], of, encoder, only, beat),
            Historian(sources[name], of, encoder, beat),
        )

    upkeep = Upkeep(
        client,
        keys,
        [(indexer, snapshots(indexer.ledger)) for indexer in indexers.values()],
        settings.reconcile_interval_s,
        [(remembering(name, of), snapshots(of)) for name, of in memories.items()],
    )
    currency = Currency(client, keys, tuple(sources), lambda: upkeep.reconciled)
    handle = Handler(indexers, settings.max_deliveries)

    def chores() -> None:
        upkeep()
        beat()

    spare_time = SpareTime(list(indexers.values()), lambda: pump.idle, chores)

    def tick() -> None:
        chores()
        spare_time()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=pump.stop).start())
    pump.start()
    log.info("reading", stream=keys.files, name=settings.name)
    try:
        for batch in pump.batches(tick):
            pump.settle(handle(batch))
    finally:
        pump.close()
        log.info("stopped", cache_hits=encoder.hits, cache_misses=encoder.misses, **tally)
    return 0


def _encoder(settings: Settings, client: Redis, keys: Keys) -> CachedEncoder:
    engine: Encoder = open_encoder(settings.encoder, side="passage")
    if settings.shared_embeddings:
        engine = SharedEncoder(engine, client, keys.embeddings, settings.shared_embeddings)
    return CachedEncoder(engine, settings.embedding_cache)
