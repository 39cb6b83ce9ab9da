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
from msgspec import UNSET

from contracts.errors import TransientError
from contracts.messages import ContextItem
from telemetry.complaint import Complaint
from vectors.collection import Collection
from vectors.graph import Graph
from vectors.joint import Joint
from vectors.memory import HISTORY
from worker.allowance import Allowance
from worker.embedding import slices
from worker.guard import PATIENCE, Guard
from worker.handle import Context
from worker.ranking import DEPTH, prefer
from worker.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from contracts.messages import ContextStatus
    from router.masters import Master, Masters
    from streams.keys import Keys
    from vectors.engine import Searched
    from vectors.types import Encoder, Hit
    from worker.embedding import Embeddings
    from worker.following import LiveCollection
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class IndexRetriever:
    """Retrieves from the collections of the master a task goes to.

    Attributes:
        masters: whose context is retrieved, by name.
        histories: what remembers for a collection, by its name.
        chunks: places per task at most.
        chars: characters of text per place at most.
        searching: guards the index.
    """

    live: dict[str, LiveCollection]
    masters: dict[str, Master]
    histories: dict[str, LiveCollection]
    chunks: int
    chars: int
    searching: Guard
    shelf: Shelf | None = None
    _joint: Joint = field(default_factory=Joint)
    _graphs: dict[str, Graph] = field(default_factory=dict)
    _looks: Allowance = field(default_factory=Allowance)
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
        if self.shelf is not None:
            self.shelf.close()
        for each in (*self.live.values(), *self.histories.values()):
            each.stop()

    def _nothing(self, master: str) -> Context:
        return Context([], "unavailable", None, _age_ms(self._searched(master)))

    def _searched(self, master: str) -> list[LiveCollection]:
        """The collections of a master that hold anything; all of them if none does."""
        wanted = [self.live[source.name] for source in self.masters[master].sources]
        return [each for each in wanted if each.collection.chunk_count] or wanted

    def _retrieve(
        self, texts: Sequence[str], embeddings: Embeddings | None, masters: Sequence[str]
    ) -> list[Context]:
        """Search texts together whose masters have the same collections."""
        groups: dict[tuple[str, ...], list[int]] = {}
        searched = {master: self._searched(master) for master in set(masters)}
        for row, master in enumerate(masters):
            names = tuple(each.collection.name for each in searched[master])
            groups.setdefault(names, []).append(row)
        found: dict[int, Context] = {}
        for rows in groups.values():
            vectors = None if embeddings is None else embeddings[rows]
            contexts = self._search(
                searched[masters[rows[0]]],
                [texts[row] for row in rows],
                vectors,
                [self.masters[masters[row]] for row in rows],
            )
            found.update(zip(rows, contexts, strict=True))
        return [found[row] for row in range(len(texts))]

    def _search(
        self,
        searched: Sequence[LiveCollection],
        texts: Sequence[str],
        vectors: Embeddings | None,
        masters: Sequence[Master],
    ) -> list[Context]:
        generation = ",".join(each.collection.generation for each in searched)
        age = _age_ms(searched)
        if not any(each.collection.chunk_count for each in searched):
            return [Context([], "unavailable", generation, age)] * len(texts)
        stale = any(each.stale for each in searched)
        found, by_vectors = self._hits(searched, texts, vectors)
        limited = stale or not by_vectors
        return [
            self._context(prefer(hits, master, self.chunks), generation, age, limited=limited)
            for hits, master in zip(found, masters, strict=True)
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
        sources = tuple((each.collection, self._history(each.collection.name)) for each in searched)
        return self._joint.search(sources, texts, vectors, DEPTH * self.chunks)

    def _history(self, name: str) -> Searched | None:
        history = self.histories.get(name)
        return None if history is None else history.collection

    def _context(
        self, best: list[Hit], generation: str, age_ms: int | None, *, limited: bool
    ) -> Context:
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
            related=self._related(hit) or UNSET,
        )

    def _related(self, hit: Hit) -> list[str]:
        """Files around a place; none where the index is not in this process.

        Nor where looking for them would hold up decisions: the first time that a path is found it
        takes milliseconds. It is found again.
        """
        graph = self._graphs.get(hit.collection)
        if graph is None:
            collection = self.live[hit.collection].collection
            history = self._history(hit.collection)
            if not isinstance(collection, Collection):
                return []
            past = history if isinstance(history, Collection) else None
            graph = self._graphs[hit.collection] = Graph(collection, past)
        if graph.knows(hit.path):
            return graph.around(hit.path).related()
        if not self._looks.is_left():
            return []
        with self._looks.spend():
            return graph.around(hit.path).related()


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
    names = dict.fromkeys(source.name for each in masters.all for source in each.sources)
    remembering = [name + HISTORY for name in names if not name.endswith(HISTORY)]
    shelf = Shelf(settings, encoder, keys, client)
    opened = shelf.open([*names, *remembering])
    live = {name: opened[name] for name in names}
    return IndexRetriever(
        live,
        {master.name: master for master in masters.all},
        {name.removesuffix(HISTORY): opened[name] for name in remembering},
        settings.context_chunks,
        settings.context_chars,
        Guard("index", lambda: _search_all(live), patience_s),
        shelf,
    )


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
