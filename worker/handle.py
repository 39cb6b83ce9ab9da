"""What happens to a batch of entries, as one pipe: parse, embed, route, retrieve, decide.

Deciding never fails a task. What is malformed is buried, trouble with context is a status in the
decision, and an error nobody thought of leaves only the entry that caused it pending.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog
from msgspec import UNSET, Struct

from contracts.encode import encode_decision, encode_reference
from contracts.errors import PoisonError
from contracts.messages import ContextItem, ContextStatus, Decision, Task
from contracts.parse import parse_task, parse_task_id
from contracts.reasons import TOO_MANY_DELIVERIES
from streams.entry import Bury, Entry, Leave, Publish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.policy import Policy, Routing
    from streams.entry import Settlement
    from worker.embedding import Embedder, Embeddings

log = structlog.get_logger()


class Work(Struct, frozen=True, gc=False):
    """An entry and the task it holds."""

    entry: Entry
    task: Task


class Context(Struct, frozen=True, gc=False):
    """What was retrieved for one task.

    Attributes:
        generation: version of the index that was searched, if one was.
        age_ms: how far that index may lag behind the files; None if nobody knows.
    """

    items: list[ContextItem]
    status: ContextStatus
    generation: str | None = None
    age_ms: int | None = None


class Retriever(Protocol):
    """Finds context. It does not raise: trouble is a status."""

    def retrieve(
        self, texts: Sequence[str], embeddings: Embeddings | None, masters: Sequence[str]
    ) -> list[Context]:
        """Return one context per text, from the collections of the master it goes to."""


class NoRetriever:
    """Stands in where the index or the encoder cannot be used: decisions go on and say so."""

    def retrieve(
        self, texts: Sequence[str], embeddings: Embeddings | None, masters: Sequence[str]
    ) -> list[Context]:
        """Say for every text that context was unavailable."""
        del embeddings, masters
        return [Context([], "unavailable")] * len(texts)


@dataclass(frozen=True, slots=True)
class Handler:
    """Turns entries into what becomes of them, under one version of configuration and models.

    Attributes:
        embedder: embeds each task once, for models and retrieval; None where nobody needs it.
        retriever: None where context is switched off.
        max_deliveries: an entry delivered more often is buried untouched.
    """

    policy: Policy
    embedder: Embedder | None
    retriever: Retriever | None
    max_deliveries: int

    def __call__(
        self, entries: Sequence[Entry], following: Sequence[Entry] = ()
    ) -> list[Settlement]:
        """Handle a batch; returns one settlement per entry. Never raises `Exception`.

        Args:
            entries: the batch.
            following: what will be handled next; it is embedded while this batch is routed and
                retrieved for.
        """
        try:
            if following:
                self._embed_ahead(entries)
                self._embed_ahead(following)
            parsed = [self._parse(entry) for entry in entries]
            works = [each for each in parsed if isinstance(each, Work)]
            buried = [each for each in parsed if isinstance(each, Bury)]
            return [*buried, *self._publish(works)] if works else [*buried]
        except Exception:
            if len(entries) > 1:
                log.warning("handling one by one", entries=len(entries), exc_info=True)
                return [settlement for entry in entries for settlement in self([entry])]
            log.exception("left pending", entry=entries[0].id.decode(), attempt=entries[0].attempt)
            return [Leave(entries[0])]

    def decide(
        self, tasks: Sequence[Task], received: Sequence[float], attempts: Sequence[int]
    ) -> list[Decision]:
        """Decide tasks.

        Args:
            tasks: valid tasks.
            received: when each arrived, by `time.perf_counter()`.
            attempts: which delivery of each this is.
        """
        texts = [task.description for task in tasks]
        embeddings = self.embedder.embed(texts) if self.embedder else None
        ids, metadata = [task.task_id for task in tasks], [task.metadata for task in tasks]
        routings = self.policy.route(ids, texts, embeddings, metadata)
        contexts = self._retrieve(texts, embeddings, [each.selected_master for each in routings])
        timestamp = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        now = time.perf_counter()
        version = self.policy.config.version
        return [
            _decision(task, routing, context, timestamp, 1000 * (now - since), attempt, version)
            for task, routing, context, since, attempt in zip(
                tasks, routings, contexts, received, attempts, strict=True
            )
        ]

    def _embed_ahead(self, entries: Sequence[Entry]) -> None:
        if self.embedder is not None:
            parsed = [self._parse(entry) for entry in entries]
            works = [each for each in parsed if isinstance(each, Work)]
            self.embedder.ahead([work.task.description for work in works])

    def _parse(self, entry: Entry) -> Work | Bury:
        if entry.attempt > self.max_deliveries:
            detail = f"handed out {self.max_deliveries} times without being settled"
            return Bury(entry, TOO_MANY_DELIVERIES, detail, _usable_id(entry))
        try:
            return Work(entry, parse_task(entry.fields))
        except PoisonError as error:
            return Bury(entry, error.reason, error.detail)

    def _publish(self, works: Sequence[Work]) -> list[Publish]:
        decisions = self.decide(
            [work.task for work in works],
            [work.entry.received for work in works],
            [work.entry.attempt for work in works],
        )
        return [
            Publish(
                work.entry,
                decision.task_id,
                decision.selected_master,
                payload := encode_decision(decision),
                encode_reference(decision, payload),
            )
            for work, decision in zip(works, decisions, strict=True)
        ]

    def _retrieve(
        self, texts: Sequence[str], embeddings: Embeddings | None, masters: Sequence[str]
    ) -> list[Context]:
        if self.retriever is None:
            return [_DISABLED] * len(texts)
        return self.retriever.retrieve(texts, embeddings, masters)


_DISABLED = Context([], "disabled")


def _usable_id(entry: Entry) -> str | None:
    try:
        return parse_task_id(entry.fields.get(b"task_id", b""))
    except PoisonError:
        return None


def _decision(  # noqa: PLR0913, PLR0917 (a decision is where everything comes together)
    task: Task,
    routing: Routing,
    context: Context,
    timestamp: str,
    latency_ms: float,
    attempt: int,
    config_version: int,
) -> Decision:
    return Decision(
        task_id=task.task_id,
        timestamp=timestamp,
        description=task.description,
        metadata=task.metadata,
        selected_master=routing.selected_master,
        method=routing.method,
        confidence=routing.confidence,
        ab_test_group=routing.ab_test_group,
        bucket=routing.bucket,
        experiment=routing.experiment,
        scores=routing.scores,
        propensity=routing.propensity,
        rules_version=routing.rules_version,
        model_version=routing.model_version,
        index_generation=context.generation,
        context=context.items,
        context_status=context.status,
        latency_ms=round(latency_ms, 3),
        attempt=attempt,
        config_version=config_version,
        arm=routing.arm,
        assignment=routing.assignment,
        unit=routing.unit,
        fallback_reason=UNSET if routing.fallback_reason is None else routing.fallback_reason,
        shadow=UNSET if routing.shadow is None else routing.shadow,
        index_age_ms=UNSET if context.age_ms is None else context.age_ms,
        traceparent=UNSET if task.traceparent is None else task.traceparent,
        tracestate=UNSET if task.tracestate is None else task.tracestate,
    )
