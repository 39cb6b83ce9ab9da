"""Encoding many texts: each different one once, texts of like length together."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from contracts.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vectors.types import Chunk, Encoder

log = structlog.get_logger(__name__)

ENCODED_AT_ONCE = 64
_SAY_EVERY_S = 10.0


class Progress(Struct, frozen=True):
    """How far encoding is.

    Attributes:
        texts: texts done, those that a cache knew included.
        total: texts in all.
        seconds: since encoding began.
    """

    texts: int
    total: int
    seconds: float

    @property
    def texts_per_second(self) -> float:
        """Mean rate so far."""
        return self.texts / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """As long as the texts that are left take at the mean rate; None before there is one."""
        return self.seconds / self.texts * (self.total - self.texts) if self.texts else None


def announcing(
    what: str, also: Callable[[Progress], None] = lambda _: None
) -> Callable[[Progress], None]:
    """What to tell progress to, so that it is logged now and then; `also` is told each time."""
    say_at = time.monotonic() + _SAY_EVERY_S

    def progress(now: Progress) -> None:
        nonlocal say_at
        also(now)
        if time.monotonic() >= say_at:
            say_at = time.monotonic() + _SAY_EVERY_S
            left = None if now.seconds_left is None else round(now.seconds_left)
            log.info(what, texts=now.texts, total=now.total, seconds_left=left)

    return progress


def encode_all(
    texts: Iterable[str],
    encoder: Encoder,
    *,
    parallel: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, bytes]:
    """Embed every different text.

    Batches hold texts of like length and are taken in random order: those that are done are then a
    fair sample of those that are left, in length and in what a cache knows of them, and the time
    left follows from the time taken.

    Args:
        texts: in any order; repetitions cost nothing.
        encoder: called by several threads, if `parallel` says so.
        parallel: batches in the encoder's hands at any time.
        progress: told before the first batch and after each, on the calling thread.

    Returns:
        Text -> its vector as a row of `FileDelta.vectors`: float16, little-endian.

    Raises:
        TransientError: the encoder failed.
    """
    begun = time.monotonic()
    ordered = sorted(dict.fromkeys(texts), key=len)
    batches = [ordered[at : at + ENCODED_AT_ONCE] for at in range(0, len(ordered), ENCODED_AT_ONCE)]
    random.Random(0).shuffle(batches)  # noqa: S311 - a sample, not a secret
    found: dict[str, bytes] = {}
    progress(Progress(0, len(ordered), 0.0))
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="encode")
    try:
        pending = {pool.submit(_encoded, batch, encoder): batch for batch in batches}
        for future in as_completed(pending):
            found.update(zip(pending[future], future.result(), strict=True))
            progress(Progress(len(found), len(ordered), time.monotonic() - begun))
    finally:
        # What is under way ends by itself; who interrupts this does not wait for it.
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def embed_chunks(
    chunks: Sequence[Chunk], encoder: Encoder, tick: Callable[[], None] = lambda: None
) -> bytes:
    """Vectors of chunks as a `FileDelta` carries them: float16, little-endian, row-major.

    Raises:
        TransientError: the encoder failed.
    """
    rows: list[bytes] = []
    for start in range(0, len(chunks), ENCODED_AT_ONCE):
        part = chunks[start : start + ENCODED_AT_ONCE]
        rows += _encoded([chunk.embedded_text for chunk in part], encoder)
        tick()
    return b"".join(rows)


def _encoded(texts: Sequence[str], encoder: Encoder) -> list[bytes]:
    try:
        return [row.tobytes() for row in encoder.encode(texts).astype("<f2")]
    except Exception as error:
        raise TransientError(f"cannot encode {len(texts)} chunks: {error}") from error
