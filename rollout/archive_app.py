"""The archiver process: everything is wired here, and nowhere else."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing, suppress
from pathlib import Path

import structlog

from contracts.settings import load, redacted
from rollout.archive import Archive
from rollout.archive_file import ChainFile
from rollout.archive_settings import Settings, late_path
from streams.connect import FOREVER, connect
from streams.errors import SERVER_TROUBLE
from streams.partitions import layout
from streams.reader import backoff
from telemetry.health import Health
from telemetry.logs import configure

log = structlog.get_logger(__name__)

_PAUSE_S = 0.5  # between looks where nothing more is there; each costs a sync of the disk


def main(path: Path | None = None) -> int:
    """Write the metrics file until TERM or INT; returns the exit code.

    What waits for its outcome then is not written yet: it stays in its stream.

    Args:
        path: the metrics file, if not the one that the environment names.

    Raises:
        FatalError: the settings or the surroundings do not allow an archiver to run.
    """
    settings = load(Settings, os.environ)
    configure("archiver", settings.log_level)
    path = path or settings.metrics
    log.info("starting", **{**redacted(settings), "METRICS_PATH": str(path)})
    stopping = threading.Event()
    # Not earlier: until there is a server to read from, a signal just ends the process.
    client = connect(
        settings.redis_url, data_dir=Path(settings.data_dir), role="archiver", patience=FOREVER
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    state = {"queue": False}
    health = Health(lambda: state, Path(settings.health_file) if settings.health_file else None)
    if settings.health_port:
        health.serve(settings.health_port, settings.health_host)
    with (
        closing(ChainFile(path, settings.rotate_bytes)) as metrics,
        closing(ChainFile(late_path(path), settings.rotate_bytes)) as late,
    ):
        archive, waits = None, backoff()
        while not stopping.is_set():
            try:
                if archive is None:
                    parts = layout(settings.prefix, settings.partitions)
                    archive = Archive(
                        client, parts, metrics, late, settings.wait_s, settings.waiting
                    )
                    log.info("reading", lines=metrics.head.number, late=late.head.number)
                more = archive.step()
            except SERVER_TROUBLE as error:
                state["queue"], wait = False, next(waits)
                log.warning("cannot archive", error=str(error), retry_in=round(wait, 3))
                stopping.wait(wait)
            else:
                state["queue"], waits = True, backoff()
                if not more:
                    stopping.wait(_PAUSE_S)
            health.beat()
        if archive is not None:
            with suppress(*SERVER_TROUBLE):
                archive.step()  # what was reported while it was told to stop
        log.info("stopped", lines=metrics.head.number, late=late.head.number)
    return 0
