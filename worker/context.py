"""Context from the live index: the encoder, the collections, and the threads that follow them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from msgspec import UNSET

from contracts.errors import CortexError, TransientError
from contracts.messages import ContextItem
from vectors.collection import Collection
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.follow import Follower
from vectors.log import OtherEncoder
from worker.handle import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from contracts.messages import ContextStatus
    from router.masters import Masters
    from streams.keys import Keys
    from vectors.types import Encoder, Hit
    from worker.handle import Embeddings
    from worker.settings import Settings

log = structlog.get_logger()

_POLL_MS = 500
_RETRY_SECONDS = 0.5
_CATCH_UP_SECONDS = 3.0
_CACHED_TEXTS = 4096  # tasks repeat themselves; 1.5 KB each


@dataclass(frozen=True, slots=True)
class LiveCollection:
    """A collection and, where there is a queue, what keeps it level with the log."""

    collection: Collection
    follower: Follower | None

    def catch_up(self, seconds: float) -> None:
        """Apply what was published so far, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        try:
            while self.follower and self.follower.poll() and time.monotonic() < deadline:
                pass
        except (TransientError, OtherEncoder) as error:
            log.warning("index behind", collection=self.collection.name, error=str(error))

    def follow(self) -> None:
        """Apply what the indexers publish, for as long as the process lives."""
        complaint = ""
        while self.follower is not None:
            try:
                self.follower.poll(_POLL_MS)
                complaint = ""
            except (TransientError, OtherEncoder) as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("index behind", collection=self.collection.name, error=complaint)
                threading.Event().wait(_RETRY_SECONDS)
            except CortexError:
                log.exception("index no longer followed", collection=self.collection.name)
                self.follower.stale = True
                return

    @property
    def stale(self) -> bool:
        """Whether what it says may be outdated."""
        return self.follower is not None and self.follower.stale


@dataclass(frozen=True, slots=True)
class IndexRetriever:
    """Retrieves from the collections of the master a task goes to.

    Attributes:
        wanted: collections by master.
        chunks: places per task at most.
        chars: characters of text per place at most.
    """

    encoder: Encoder
    live: dict[str, LiveCollection]
    wanted: dict[str, tuple[str, ...]]
    chunks: int
    chars: int

    def embed(self, texts: Sequence[str]) -> Embeddings | None:
        """Embed texts; None if the encoder fails."""
        try:
            return self.encoder.encode(texts)
        except Exception:
            log.exception("cannot embed", texts=len(texts))
            return None

    def retrieve(
        self, texts: Sequence[str], embeddings: Embeddings | None, masters: Sequence[str]
    ) -> list[Context]:
        """Search every text in its master's collections; by words alone without embeddings."""
        try:
            return self._retrieve(texts, embeddings, masters)
        except Exception:
            log.exception("cannot retrieve", texts=len(texts))
            return [Context([], "unavailable")] * len(texts)

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
        if not any(each.collection.chunk_count for each in searched):
            return [Context([], "unavailable", generation)] * len(texts)
        limited = vectors is None or any(each.stale for each in searched)
        per_collection = [
            each.collection.search_batch(texts, vectors, self.chunks) for each in searched
        ]
        return [
            self._context([hit for hits in of_text for hit in hits], generation, limited=limited)
            for of_text in zip(*per_collection, strict=True)
        ]

    def _context(self, hits: list[Hit], generation: str, *, limited: bool) -> Context:
        best = sorted(hits, key=lambda hit: -hit.score)[: self.chunks]
        items = [self._item(hit) for hit in best]
        status: ContextStatus = "limited" if limited else "ok" if items else "empty"
        return Context(items, status, generation)

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


def open_retriever(
    settings: Settings, masters: Masters, keys: Keys | None = None, client: Redis | None = None
) -> IndexRetriever:
    """Load the encoder and every collection a master asks for.

    Args:
        settings: where the store is, and which encoder.
        masters: whose collections are opened.
        keys: names of the delta logs; None with `client`.
        client: where the logs are followed; None searches the snapshots as they are.

    Raises:
        FatalError: the encoder or a snapshot cannot be used at all.
    """
    encoder = CachedEncoder(open_encoder(settings.encoder), None, max_entries=_CACHED_TEXTS)
    names = dict.fromkeys(name for master in masters.all for name in master.collections)
    live = {}
    for name in names:
        collection = _open(settings, name, encoder)
        follower = None
        if keys is not None and client is not None:
            follower = Follower(client, collection, settings.store, keys.vectors(name))
        live[name] = LiveCollection(collection, follower)
        live[name].catch_up(_CATCH_UP_SECONDS)
        threading.Thread(target=live[name].follow, name=f"follow-{name}", daemon=True).start()
    wanted = {master.name: master.collections for master in masters.all}
    return IndexRetriever(encoder, live, wanted, settings.context_chunks, settings.context_chars)


def _open(settings: Settings, name: str, encoder: Encoder) -> Collection:
    try:
        return Collection.open(settings.store, name, embedder=encoder.identity)
    except (TransientError, OtherEncoder) as error:
        log.warning("starting from an empty collection", collection=name, reason=str(error))
        return Collection.empty(name, encoder.dim, encoder.identity)
