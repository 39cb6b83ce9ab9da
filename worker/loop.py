"""The worker's loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.entry import Entry, Settlement
    from streams.pump import Pump


def run(
    pump: Pump,
    handler: Callable[[], Callable[[Sequence[Entry], Sequence[Entry]], Sequence[Settlement]]],
    tick: Callable[[], None],
) -> None:
    """Handle and settle batches until the pump is drained.

    Args:
        pump: where batches come from and settlements go.
        handler: asked anew for every batch, so that a batch sees one configuration throughout.
        tick: called at least once a second.
    """
    for batch in pump.batches(tick):
        pump.settle(handler()(batch, pump.waiting))
