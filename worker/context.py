"""Context from the live index: the collections, and what becomes of their faults.

Whatever fails, decisions go on: without an embedding a search is by words alone (`limited`), and
without an index there is no context (`unavailable`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import structlog
from msgspec import UNSET

from contracts.errors import TransientError
from contracts.messages import ContextItem
from telemetry.complaint import Complaint
from vectors.collection import Collection
from vectors.currency import read_age
from vectors.follow import Follower
from vectors.log import OtherEncoder
from vectors.memory import HISTORY, retrieve
from worker.embedding import slices
from worker.following import LiveCollection
from worker.guard import PATIENCE, Guard
from worker.handle import Context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from contracts.messages import ContextStatus
    from router.masters import Masters
    from streams.keys import Keys
    from vectors.types import Encoder, Hit
    from worker.embedding import Embeddings
    from worker.settings import Settings

log = structlog.get_logger()

_CATCH_UP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class IndexRetriever:
    """Retrieves from the collections of the master a task goes to.

    Attributes:
        wanted: collections by master.
        histories: what remembers for a collection, by its name.
        chunks: places per task at most.
        chars: characters of text per place at most.
        searching: guards the index.
    """

    live: dict[str, LiveCollection]
    wanted: dict[str, tuple[str, ...]]
    histories: dict[str, LiveCollection]
    chunks: int
    chars: int
    searching: Guard
    _unsound: Complaint = field(
        default_factory=lambda: Complaint("searching by words alone", "searching by vectors again")
    )

    def retrieve(
        self, texts: Sequence[str], embeddings: Embeddings | None, masters: Sequence[str]
    ) -> list[Context]:
        """Search every text in its master's collections; by words alone without embeddings."""
        contexts: list[Context] = []
        for part in slices(len(texts)):
            vectors = None if embeddings is None else embeddings[part]
            work = partial(self._retrieve, texts[part], vectors, masters[part])
            contexts += self.searching.call(work) or map(self._nothing, masters[part])
        return contexts

    def report(self) -> dict[str, dict[str, object]]:
        """Of each collection: how old it may be, in seconds, and whether that is too old."""
        return {
            name: {"age_s": each.age_s and round(each.age_s, 1), "outdated": each.stale}
            for name, each in self.live.items()
        }

    def close(self) -> None:
        """End every thread behind this as soon as it is free."""
        self.searching.close()
        for each in (*self.live.values(), *self.histories.values()):
            each.stop()

    def _nothing(self, master: str) -> Context:
        searched = [self.live[name] for name in self.wanted[master]]
        return Context([], "unavailable", None, _age_ms(searched))

    def _retrieve(
        self, texts: Sequence[str], embeddings: Embeddings | None, masters: Sequence[str]
    ) -> list[Context]:
        groups: dict[tuple[str, ...], list[int]] = {}
        for row, master in enumerate(masters):
            groups.setdefault(self.wanted[master], []).append(row)
        found: dict[int, Context] = {}
        for names, rows in groups.items():
            part = [texts[row] for row in rows]
            vectors = None if embeddings is None else embeddings[rows]
            found.update(zip(rows, self._search(names, part, vectors), strict=True))
        return [found[row] for row in range(len(texts))]

    def _search(
        self, names: tuple[str, ...], texts: Sequence[str], vectors: Embeddings | None
    ) -> list[Context]:
        searched = [self.live[name] for name in names]
        generation = ",".join(each.collection.generation for each in searched)
        age = _age_ms(searched)
        if not any(each.collection.chunk_count for each in searched):
            return [Context([], "unavailable", generation, age)] * len(texts)
        stale = any(each.stale for each in searched)
        found, by_vectors = self._hits(searched, texts, vectors)
        return [
            self._context(hits, generation, age, limited=stale or not by_vectors) for hits in found
        ]

    def _hits(
        self, searched: Sequence[LiveCollection], texts: Sequence[str], vectors: Embeddings | None
    ) -> tuple[list[list[Hit]], bool]:
        """Search by vectors where that gives scores that are numbers; says whether it did."""
        if vectors is not None:
            found = self._ranked(searched, texts, vectors)
            if _is_sound(found):
                self._unsound.did_not_happen()
                return found, True
            self._unsound.happened(error="scores of the index are not numbers")
        found = self._ranked(searched, texts, None)
        if not _is_sound(found):
            raise TransientError("scores of the index are not numbers")
        return found, False

    def _ranked(
        self, searched: Sequence[LiveCollection], texts: Sequence[str], vectors: Embeddings | None
    ) -> list[list[Hit]]:
        per_collection = [
            retrieve(each.collection, self._history(each), texts, vectors, self.chunks)
            for each in searched
        ]
        return [
            [hit for hits in of_text for hit in hits]
            for of_text in zip(*per_collection, strict=True)
        ]

    def _history(self, live: LiveCollection) -> Collection | None:
        history = self.histories.get(live.collection.name)
        return None if history is None else history.collection

    def _context(
        self, hits: list[Hit], generation: str, age_ms: int | None, *, limited: bool
    ) -> Context:
        best = sorted(hits, key=lambda hit: -hit.score)[: self.chunks]
        items = [self._item(hit) for hit in best]
        status: ContextStatus = "limited" if limited else "ok" if items else "empty"
        return Context(items, status, generation, age_ms)

    def _item(self, hit: Hit) -> ContextItem:
        return ContextItem(
            collection=hit.collection,
            path=hit.path,
            start_line=hit.start_line,
            end_line=hit.end_line,
            kind=hit.kind,
            score=hit.score,
            symbol=UNSET if hit.symbol is None else hit.symbol,
            text=hit.text[: self.chars],
        )


def open_retriever(  # noqa: PLR0913 - what is opened, for whom, and how
    settings: Settings,
    masters: Masters,
    encoder: Encoder,
    keys: Keys | None = None,
    client: Redis | None = None,
    *,
    patience_s: float = PATIENCE,
) -> IndexRetriever:
    """Open every collection a master asks for.

    Args:
        settings: where the store is.
        masters: whose collections are opened.
        encoder: embeds what they are asked for.
        keys: names of the delta logs; None with `client`.
        client: where the logs are followed; None searches the snapshots as they are.
        patience_s: how long a few searches may take.

    Raises:
        FatalError: a snapshot cannot be used at all.
    """

    def opened(name: str) -> LiveCollection:
        each = _follow(_open(settings, name, encoder), settings, keys, client)
        each.catch_up(_CATCH_UP_SECONDS)
        each.start()
        return each

    names = dict.fromkeys(name for master in masters.all for name in master.collections)
    live = {name: opened(name) for name in names}
    return IndexRetriever(
        live,
        {master.name: master.collections for master in masters.all},
        {name: opened(name + HISTORY) for name in names if not name.endswith(HISTORY)},
        settings.context_chunks,
        settings.context_chars,
        Guard("index", lambda: _search_all(live), patience_s),
    )


def _follow(
    collection: Collection, settings: Settings, keys: Keys | None, client: Redis | None
) -> LiveCollection:
    if keys is None or client is None:
        return LiveCollection(collection)
    log_key = keys.vectors(collection.name)
    follower = Follower(client, collection, settings.store, log_key)
    return LiveCollection(
        collection, follower, lambda: read_age(client, log_key), settings.index_age_s
    )


def _open(settings: Settings, name: str, encoder: Encoder) -> Collection:
    try:
        return Collection.open(settings.store, name, embedder=encoder.identity)
    except (TransientError, OtherEncoder) as error:
        log.warning("starting from an empty collection", collection=name, reason=str(error))
        return Collection.empty(name, encoder.dim, encoder.identity)


def _search_all(live: Mapping[str, LiveCollection]) -> None:
    for each in live.values():
        towards = np.eye(1, each.collection.dim, dtype=np.float32)[0]
        each.collection.search("are you there", towards)


def _is_sound(found: Sequence[Sequence[Hit]]) -> bool:
    return all(math.isfinite(hit.score) for hits in found for hit in hits)


def _age_ms(searched: Sequence[LiveCollection]) -> int | None:
    """Age of the oldest, rounded down; None if nothing is known of any."""
    ages = [age for each in searched if (age := each.age_s) is not None]
    return int(1000 * max(ages)) if ages else None
