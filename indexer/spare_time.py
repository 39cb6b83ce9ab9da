"""What an indexer does while no change waits for it: it embeds what is found by its words alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.errors import TransientError
from telemetry.complaint import Complaint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from indexer.apply import Indexer


@dataclass(frozen=True, slots=True)
class SpareTime:
    """Lets indexers catch up, a file of each at a time.

    Attributes:
        indexers: of the collections of this process.
        idle: whether no change waits; asked again and again.
        between: done after every round.
    """

    indexers: Sequence[Indexer]
    idle: Callable[[], bool]
    between: Callable[[], None]
    _trouble: Complaint = field(
        init=False,
        default_factory=lambda: Complaint("embedding_put_off", "embedding_after_all", quiet_s=0),
    )

    def __call__(self) -> None:
        """Use the time there is; what fails for the moment is put off until the next call."""
        try:
            while self.idle() and sum(each.catch_up(self.idle) for each in self.indexers):
                self._trouble.did_not_happen()
                self.between()
        except TransientError as error:
            self._trouble.happened(error=str(error))
