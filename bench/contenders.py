"""Who takes part in the throughput comparison, and the command lines that make them do so."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

# Long enough that the start of the drain does not show, at each contender's pace.
FAST, SLOW = 60_000, 5_000
PEERS_PYTHON = Path(".venv-peers/bin/python")


@dataclass(frozen=True)
class Contender:
    """One worker process.

    Attributes:
        preload: arguments to its Python that fill its queue; the number of tasks is appended.
        worker: arguments to its Python that start the worker.
    """

    name: str
    preload: tuple[str, ...]
    worker: tuple[str, ...]
    tasks: int = FAST
    environment: dict[str, str] = field(default_factory=dict)
    python: Path = Path(sys.executable)


BARE_LOOP = Contender("bare loop", ("-m", "bench.preload"), ("-m", "bench.bare_loop"))
CORTEX = Contender(
    "Cortex",
    ("-m", "bench.preload"),
    ("-m", "ops.cli", "worker"),
    environment={"ENABLE_RAG": "false", "ENABLE_NEURAL": "false", "AB_TEST_PERCENTAGE": "0"},
)
FASTSTREAM = Contender(
    "FastStream, batches of 256",
    ("-m", "bench.peers.preload", "bench.peers.faststream_app"),
    ("-m", "faststream", "run", "bench.peers.faststream_app:app"),
    python=PEERS_PYTHON,
)
CELERY = Contender(
    "Celery",
    ("-m", "bench.peers.preload", "bench.peers.celery_app"),
    (
        *("-m", "celery", "-A", "bench.peers.celery_app", "worker", "--pool", "solo"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
    ),
    tasks=SLOW,
    python=PEERS_PYTHON,
)
# Which of the two is faster depends on how busy the machine is, so both take part.
DRAMATIQ_THREADS, DRAMATIQ_ONE_THREAD = (
    Contender(
        f"dramatiq, threads: {threads}",
        ("-m", "bench.peers.preload", "bench.peers.dramatiq_app"),
        ("-m", "dramatiq", "bench.peers.dramatiq_app", "--processes", "1", "--threads", threads),
        tasks=SLOW,
        environment={"dramatiq_queue_prefetch": "256"},
        python=PEERS_PYTHON,
    )
    for threads in ("8", "1")
)
TASKIQ = Contender(
    "taskiq",
    ("-m", "bench.peers.preload", "bench.peers.taskiq_app"),
    (
        *("-m", "taskiq", "worker", "bench.peers.taskiq_app:broker", "--workers", "1"),
        *("--max-async-tasks", "256", "--max-prefetch", "256", "--log-level", "WARNING"),
    ),
    tasks=SLOW,
    python=PEERS_PYTHON,
)
PEERS = (FASTSTREAM, CELERY, DRAMATIQ_THREADS, DRAMATIQ_ONE_THREAD, TASKIQ)
