"""Decisions of two stretches of time, from the audit stream, as what drift is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
import numpy as np
from msgspec import Struct

from learning.drift import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from redis import Redis

    from streams.keys import Keys
    from streams.ranges import Range

    Embed = Callable[[list[str]], NDArray[np.float32]]

_HOUR_MS = 3_600_000
_PER_HOUR = 250  # decisions, over all partitions
_MOST = 5_000  # decisions per window
_EMBEDDED = 1_000  # texts per window: a few seconds of work


class Decided(Struct, frozen=True, gc=False):
    """The fields of a decision that are compared; the others are not even parsed."""

    description: str
    selected_master: str
    confidence: float
    ab_test_group: str
    context_status: str
    config_version: int
    rules_version: str
    model_version: str | None
    fallback_reason: str | None = None


class Sample(NamedTuple):
    """Decisions of one stretch of time.

    Attributes:
        hours: shape (n,), int64, hours between its beginning and each decision.
        complete: False if there were more.
    """

    decisions: list[Decided]
    hours: NDArray[np.int64]
    complete: bool


def sample(
    client: Redis,
    parts: Sequence[Keys],
    start_ms: float,
    hours: int,
    rng: np.random.Generator,
) -> Sample:
    """Read the decisions of some hours.

    Where there are too many, as many are read of each hour, so that all of the day counts.

    Args:
        client: connection to the queue's server.
        parts: name the audit stream of each partition.
        start_ms: milliseconds since 1970, by the server's clock.
        hours: how many.
        rng: draws, where there are still too many.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    most = max(1, _PER_HOUR // len(parts))
    decoder = msgspec.json.Decoder(Decided)
    found: list[tuple[int, Decided]] = []
    complete = True
    for keys in parts:
        for hour, page in enumerate(_pages(client, keys, int(start_ms), hours, most)):
            found += [(hour, decision) for decision in _decoded(decoder, page)]
            complete = complete and len(page) < most
    kept = [found[index] for index in rng.permutation(len(found))[:_MOST]]
    return Sample(
        [decision for _, decision in kept],
        np.array([hour for hour, _ in kept], np.int64),
        complete and len(kept) == len(found),
    )


def window(sample: Sample, embed: Embed | None) -> Window:
    """Arrange decisions, which are in random order, for comparison.

    Args:
        sample: of one stretch of time.
        embed: texts to an array of shape (n, dim), float32; None leaves embeddings out.
    """
    decisions = sample.decisions
    texts = [each.description for each in decisions]
    some = texts[:_EMBEDDED]
    return Window(
        hours=sample.hours,
        texts=texts,
        confidences=np.array([each.confidence for each in decisions], np.float64),
        masters=[each.selected_master for each in decisions],
        embedded=np.arange(len(some)),
        embeddings=embed(some) if embed else None,
        treated=np.array([each.ab_test_group == "treatment" for each in decisions], np.bool_),
        fell_back=np.array([each.fallback_reason is not None for each in decisions], np.bool_),
        sought=np.array([each.context_status != "disabled" for each in decisions], np.bool_),
        context_found=np.array([each.context_status == "ok" for each in decisions], np.bool_),
    )


def changed_by_us(before: Sequence[Decided], after: Sequence[Decided]) -> list[str]:
    """Name what operators changed between two windows, which alone may explain a difference."""
    names = ("model_version", "rules_version", "config_version")
    return [
        name.partition("_")[0]
        for name in names
        if {getattr(each, name) for each in before} != {getattr(each, name) for each in after}
    ]


def _pages(client: Redis, keys: Keys, start_ms: int, hours: int, most: int) -> Sequence[Range]:
    """Read the first entries of each hour."""
    with client.pipeline(transaction=False) as pipeline:
        for start in range(start_ms, start_ms + hours * _HOUR_MS, _HOUR_MS):
            end = f"({start + _HOUR_MS}"
            pipeline.xrange(keys.decisions, min=str(max(0, start)), max=end, count=most)
        return cast("Sequence[Range]", pipeline.execute())


def _decoded(decoder: msgspec.json.Decoder[Decided], page: Range) -> Iterator[Decided]:
    for _, fields in page:
        try:
            yield decoder.decode(fields.get(b"decision", b""))
        except msgspec.DecodeError:  # not written by a worker
            continue
