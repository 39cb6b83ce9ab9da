"""A lane: the part of the work that lives in one slot of a cluster, or all of it without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.consumer import Consumer
    from streams.keys import Keys


@dataclass(frozen=True, slots=True)
class Lane:
    """A consumer, and the names of the partition it reads."""

    consumer: Consumer
    keys: Keys
