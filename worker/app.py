"""The worker process: everything is wired here, and nowhere else."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from contracts.errors import FatalError
from contracts.settings import load, redacted
from router.masters import Masters
from router.policy import Policy
from router.rules import Rules
from streams.connect import FOREVER, connect
from streams.consumer import Consumer
from streams.entry import Publish
from streams.keys import WORKERS
from streams.lane import Lane
from streams.partitions import layout
from streams.pressure import Pressure
from streams.pump import Pump, PumpSettings
from telemetry.complaint import Complaint
from telemetry.health import Health
from telemetry.logs import configure
from worker.chores import Chores
from worker.embedding import embedder
from worker.handle import Handler, NoRetriever
from worker.live import LiveConfig
from worker.loop import run
from worker.models import are_asked
from worker.opening import live_models
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from contracts.messages import RolloutConfig
    from streams.entry import Settlement
    from streams.keys import Keys
    from streams.settle import Verdict
    from worker.context import IndexRetriever
    from worker.embedding import Embedder
    from worker.handle import Retriever
    from worker.models import Models

log = structlog.get_logger()

# What a batch may take when many tasks wait: retrieval reads the whole index once for a batch, and
# costs half as much a task at thirty tasks as at five. A rollback waits for a batch at most, after
# the 0.4 s in which it is noticed, and has a second.
_BATCH_SECONDS = 0.3


def main() -> int:
    """Run a worker until TERM or INT, then drain; returns the exit code.

    Raises:
        FatalError: the settings or the surroundings do not allow a worker to run.
    """
    settings = load(Settings, os.environ)
    configure("worker", settings.log_level)
    log.info("starting", **redacted(settings), vectors_in_redis=settings.vectors_at is not None)

    parts = layout(settings.prefix, settings.partitions)
    keys = parts[0]  # for names that have no partition
    masters = Masters.parse(settings.masters_text)
    rules = Rules.parse(settings.rules_text, masters)
    client = connect(
        settings.redis_url, data_dir=Path(settings.data_dir), role="worker", patience=FOREVER
    )
    live = LiveConfig(client, keys, settings.fresh_config)
    live.start()

    embedding = embedder(settings.encoder)
    models = live_models(settings, masters, rules, embedding, lambda: live.current)
    models.start()

    faults: set[str] = set()  # what does not work, for `/readyz`
    notes: dict[str, Callable[[], object]] = {  # what else it says
        "models": models.report,
        "reading": lambda: pressure.detail,
    }

    def open_context() -> Retriever:
        opened = _open_retriever(settings, masters, embedding, keys, client)
        if opened is None:
            faults.add("context")
            return NoRetriever()
        notes["index"] = opened.report
        return opened

    handler = _handlers(masters, rules, embedding, open_context, settings.max_deliveries)
    handler(live.current, models.current)
    tally: Counter[str] = Counter()

    def count(batch: Sequence[Settlement], verdicts: Sequence[Verdict]) -> None:
        tally.update(verdicts)
        for each, verdict in zip(batch, verdicts, strict=True):
            if verdict == "blocked" and isinstance(each, Publish):
                log.warning(
                    "to be retried: the master's key holds no stream",
                    master=each.master,
                    task_id=each.task_id,
                )

    pressure = Pressure(
        client,
        [part.master(name) for part in parts for name in masters.names],
        stop=settings.pause_at,
        resume=settings.resume_below,
    )
    pump = Pump(
        _lanes(client, parts, settings),
        client,
        PumpSettings(
            window_ms=1000 * settings.idempotency_seconds,
            max_batch=settings.batch_size,
            target_seconds=_BATCH_SECONDS,
        ),
        count,
        pressure.may_read,
    )
    chores = Chores(
        client,
        parts,
        masters.names,
        pressure,
        settings.decisions_days,
        settings.decisions_max,
    )
    health = Health(
        lambda: {"queue": pump.connected, "context": "context" not in faults},
        Path(settings.health_file) if settings.health_file else None,
        lambda: {name: note() for name, note in notes.items()},
    )
    if settings.health_port:
        health.serve(settings.health_port, settings.health_host)

    _stop_on_signals(pump)
    pressure.start()
    pump.start()
    chores.start()
    _freeze()
    log.info("reading", name=settings.name, partitions=settings.partitions)
    try:
        run(pump, lambda: handler(live.current, models.current), health.beat)
    finally:
        pump.close()
        chores.stop()
        pressure.stop()
        models.stop()
        live.stop()
        log.info("stopped", **tally)
    return 0


def _lanes(client: Redis, parts: Sequence[Keys], settings: Settings) -> list[Lane]:
    return [
        Lane(Consumer(client, part.task_streams, WORKERS, settings.name, settings.lease_ms), part)
        for part in parts
    ]


def _freeze() -> None:
    """Have no garbage collection look through what stays: it holds up decisions for 25 ms."""
    gc.collect()
    gc.freeze()


def _stop_on_signals(pump: Pump) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=pump.stop).start())


def _handlers(
    masters: Masters,
    rules: Rules,
    embedding: Embedder,
    open_context: Callable[[], Retriever],
    max_deliveries: int,
) -> Callable[[RolloutConfig, Models], Handler]:
    """Return what makes the handler for a batch; it is the same while nothing changes."""

    @lru_cache(maxsize=1)
    def context() -> Retriever:
        return open_context()

    @lru_cache(maxsize=2)
    def handler(config: RolloutConfig, models: Models) -> Handler:
        trouble = Complaint("a model fails", "models work again")
        serving = models.for_config(config)
        policy = Policy(
            masters,
            rules,
            serving.champion,
            config,
            serving.challenger,
            lambda error: trouble.happened(error=str(error)),
            serving.arms,
        )
        retriever = context() if config.enable_rag else None
        needed = retriever is not None or are_asked(models, config)
        return Handler(policy, embedding if needed else None, retriever, max_deliveries)

    return handler


def _open_retriever(
    settings: Settings, masters: Masters, embedding: Embedder, keys: Keys, client: Redis
) -> IndexRetriever | None:
    encoder = embedding.open()
    if encoder is None:
        log.error("no context until restarted", error="there is no encoder")
        return None
    try:
        from worker.context import open_retriever  # noqa: PLC0415 (FAISS loads only where used)

        return open_retriever(settings, masters, encoder, keys, client)
    except (FatalError, ModuleNotFoundError) as error:
        # Tasks go on without context rather than pile up behind a broken index.
        log.error("no context until restarted", error=str(error))  # noqa: TRY400 (one line)
        return None
