"""The encoder of a worker: opened where needed, guarded, shared by routing and retrieval."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import structlog

from contracts.errors import FatalError
from worker.guard import PATIENCE, Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from vectors.types import Encoder

    Embeddings = NDArray[np.float32]

log = structlog.get_logger()

_KNOWN_TEXTS = 4096  # 1 KB each
_AT_ONCE = 32  # texts per guarded call, so that a large batch is not taken for a hang


class Embedder:
    """Embeds each text of a batch once, for whoever needs its vector. Threads may share it."""

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
        self._encoder: Encoder | None = None
        self._guard: Guard | None = None

    def open(self) -> Encoder | None:
        """Load the encoder, the first time; None if it cannot be used, which is logged once."""
        with self._lock:
            if not self._tried:
                self._tried = True
                try:
                    self._load()
                except (FatalError, ModuleNotFoundError) as error:
                    log.error("no embeddings until restarted", error=str(error))  # noqa: TRY400 - one line says it
            return self._encoder

    def embed(self, texts: Sequence[str]) -> Embeddings | None:
        """Embed texts.

        Returns:
            Array of shape (len(texts), dim), float32, rows L2-normalised; None if the encoder
            fails or does not answer in time.
        """
        encoder = self.open()
        if encoder is None or self._guard is None:
            return None
        parts = []
        for part in slices(len(texts)):
            embedded = self._guard.call(partial(encoder.encode, texts[part]))
            if embedded is None:
                return None
            parts.append(embedded)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        """End the thread behind this as soon as it is free."""
        if self._guard is not None:
            self._guard.close()

    def _load(self) -> None:
        from worker.known_texts import KnownTexts  # noqa: PLC0415 - only where used

        engine = self._open_engine()
        self._encoder = KnownTexts(engine, _KNOWN_TEXTS)
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
