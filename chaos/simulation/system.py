"""What is simulated: ours, unless a mutant takes the place of a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from streams.consumer import Consumer
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from streams.entry import Settlement
    from streams.keys import Keys
    from streams.settle import Verdict


class Settle(Protocol):
    """The signature of `streams.settle.settle`."""

    def __call__(  # noqa: D102, PLR0913 - as the original
        self,
        client: Redis,
        keys: Keys,
        batch: Sequence[Settlement],
        *,
        group: str,
        consumer: str,
        window_ms: int,
    ) -> list[Verdict]: ...


@dataclass(frozen=True)
class System:
    """The parts of the queue that a simulation runs.

    Attributes:
        settle: how work leaves the pending list.
        consumer: how it gets there.
        dress: what every client passes through before anything uses it.
    """

    settle: Settle = settle
    consumer: type[Consumer] = Consumer
    dress: Callable[[Redis], Redis] = lambda client: client
