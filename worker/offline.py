"""Decide without a queue: the same pipe, from tasks to decisions."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import msgspec

from router.masters import Masters
from router.policy import Policy
from router.rules import Rules
from worker.embedding import embedder
from worker.handle import Handler
from worker.models import are_asked
from worker.opening import live_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from contracts.messages import Decision, Group, RolloutConfig, Task
    from worker.settings import Settings

_PATIENCE_S = 60.0  # nobody queues behind this task: a busy machine is no reason to do without


def route_offline(
    tasks: Sequence[Task], settings: Settings, group: Group | None = None
) -> list[Decision]:
    """Decide tasks as a fresh deployment would, with context if there is a snapshot to search.

    Args:
        tasks: valid tasks.
        settings: as for a worker; nothing in it about the queue is used.
        group: forces the arm.

    Raises:
        FatalError: the rules, the masters or the snapshot cannot be used.
    """
    with offline_handler(settings, group) as handler:
        now = time.perf_counter()
        return handler.decide(tasks, [now] * len(tasks), [1] * len(tasks))


@contextmanager
def offline_handler(settings: Settings, group: Group | None = None) -> Iterator[Handler]:
    """Open what decides, and close it afterwards; arguments and errors as of `route_offline`."""
    masters = Masters.parse(settings.masters_text)
    rules = Rules.parse(settings.rules_text, masters)
    config = settings.fresh_config
    if group is not None:
        config = msgspec.structs.replace(config, percentage=float(group == "treatment"))
    with ExitStack() as opened:
        embedding = opened.enter_context(closing(embedder(settings.encoder, _PATIENCE_S)))
        models = live_models(settings, masters, rules, embedding, lambda: config).open_deciding()
        serving = models.for_config(config)
        policy = Policy(masters, rules, serving.champion, config, arms=serving.arms)
        retriever = None
        encoder = embedding.open() if _has_index(config, settings) else None
        if encoder is not None:
            from worker.context import open_retriever  # noqa: PLC0415 (FAISS loads only where used)

            retriever = opened.enter_context(
                closing(open_retriever(settings, masters, encoder, patience_s=_PATIENCE_S))
            )
        needed = retriever is not None or are_asked(models, config)
        yield Handler(policy, embedding if needed else None, retriever, 1)


def _has_index(config: RolloutConfig, settings: Settings) -> bool:
    return config.enable_rag and any(settings.store.glob("*/manifest.json"))
