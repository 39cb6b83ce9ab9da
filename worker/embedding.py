"""The encoder of a worker: opened where needed, guarded, shared by routing and retrieval."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import structlog

from contracts.errors import FatalError
from worker.guard import PATIENCE, Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from vectors.types import Encoder
    from worker.known_texts import KnownTexts

    Embeddings = NDArray[np.float32]

log = structlog.get_logger()

_KNOWN_TEXTS = 4096  # 1 KB each
_AT_ONCE = 32  # texts per guarded call, so that a large batch is not taken for a hang


class Embedder:
    """Embeds each text of a batch once, for whoever needs its vector, and the next batch ahead.

    One thread asks; another one, behind a guard, embeds in the order of what was begun.
    """

    def __init__(self, open_engine: Callable[[], Encoder], patience_s: float = PATIENCE) -> None:
        """Open nothing yet.

        Args:
            open_engine: loads the encoder, or raises `FatalError`.
            patience_s: how long a few texts may take.
        """
        self._open_engine = open_engine
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._tried = False
        self._guard: Guard | None = None
        self._known: KnownTexts | None = None
        self._begun: deque[tuple[list[str], Future[Embeddings]]] = deque()

    def open(self) -> Encoder | None:
        """Load the encoder, the first time; None if it cannot be used, which is logged once."""
        with self._lock:
            if not self._tried:
                self._tried = True
                try:
                    self._load()
                except (FatalError, ModuleNotFoundError) as error:
                    log.error("no embeddings until restarted", error=str(error))  # noqa: TRY400 - one line says it
            return self._known

    def ahead(self, texts: Sequence[str]) -> None:
        """Begin to embed what will be asked for next; returns at once."""
        if self.open() is not None:
            self._begin(texts)

    def embed(self, texts: Sequence[str]) -> Embeddings | None:
        """Embed texts, after what was begun before.

        Returns:
            Array of shape (len(texts), dim), float32, rows L2-normalised; None if the encoder
            fails or does not answer in time.
        """
        if self.open() is None or self._guard is None:
            return None
        vectors = self._begin(texts)
        missing = set(texts).difference(vectors)
        while missing:
            part, future = self._begun.popleft()
            embedded = self._guard.wait(future)
            if embedded is None:
                self._give_up()
                return None
            vectors.update(zip(part, embedded, strict=True))
            missing.difference_update(part)
        return np.stack([vectors[text] for text in texts])

    def close(self) -> None:
        """End the thread behind this as soon as it is free."""
        if self._guard is not None:
            self._guard.close()

    def _begin(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Begin what is neither known nor under way; returns what is known."""
        if self._known is None or self._guard is None:
            return {}
        vectors = self._known.find(texts)
        begun = vectors.keys() | {text for part, _ in self._begun for text in part}
        new = [text for text in dict.fromkeys(texts) if text not in begun]
        for part in slices(len(new)):
            work = partial(self._known.encode, new[part])
            self._begun.append((new[part], self._guard.begin(work)))
        return vectors

    def _give_up(self) -> None:
        """Wait for nothing that was begun behind a call that is lost."""
        for _, future in self._begun:
            future.cancel()
        self._begun.clear()

    def _load(self) -> None:
        from worker.known_texts import KnownTexts  # noqa: PLC0415 - only where used

        engine = self._open_engine()
        self._known = KnownTexts(engine, _KNOWN_TEXTS)
        probe = partial(engine.encode, ["are you there"])
        self._guard = Guard("encoder", probe, self._patience_s)


def embedder(model: str | None, patience_s: float = PATIENCE) -> Embedder:
    """Return what embeds with the named sentence-transformers model; None is ours."""

    def open_engine() -> Encoder:
        from vectors.encoder import open_encoder  # noqa: PLC0415 - heavy, only where used

        return open_encoder(model)

    return Embedder(open_engine, patience_s)


def slices(count: int) -> Iterator[slice]:
    """Cut a batch into parts that a guarded call can do well within its patience."""
    return (slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE))
