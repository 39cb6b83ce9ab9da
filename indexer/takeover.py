"""An indexer with another encoder: embeds everything beside what is in use, then takes its place.

Until then workers, and indexers with the old encoder, go on with the old log and snapshot. The new
snapshot is put in place first and the new log begun right after it. Killed in between, or before,
the next one goes on from there: what was embedded is in the cache, and old and new vectors never
meet, as every log entry and every snapshot names its encoder.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from contracts.errors import FatalError
from indexer.build import CutFile, collect, embed_files
from indexer.encoding import announcing
from streams.lease import hold
from vectors.memory import HISTORY
from vectors.snapshot import current_token, write_snapshot
from vectors.succession import last_committed, log_embedder, snapshot_embedder, succeed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from redis import Redis

    from indexer.scan import Rules
    from streams.keys import Keys
    from vectors.collection import Collection
    from vectors.types import Encoder

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0


def take_over(  # noqa: PLR0913 - of what, where, and by whom
    client: Redis,
    *,
    keys: Keys,
    store: Path,
    sources: Mapping[str, Path],
    rules: Rules,
    encoder: Encoder,
    beat: Callable[[], None],
) -> None:
    """Make collections and their histories this encoder's where they are another one's.

    Files are read from disk; what is remembered, from where the old encoder's is.

    Raises:
        TransientError: encoder, disk or Redis failed; what is in use stays in use.
    """

    def files_of(name: str, root: Path) -> Collection:
        progress = announcing(f"embedding {name}", lambda _: beat())
        return collect(root, encoder, name=name, rules=rules, progress=progress)[0]

    def memories_of(name: str) -> Collection:
        known = last_committed(client, keys.vectors(name), store, name)
        files = [CutFile(path, *of) for path, of in known.items()]
        return embed_files(
            name, files, encoder, progress=announcing(f"embedding {name}", lambda _: beat())
        )

    def wait() -> None:
        beat()
        time.sleep(_LOOK_EVERY_S)

    for name, root in sources.items():
        makers = {
            name: partial(files_of, name, root),
            name + HISTORY: partial(memories_of, name + HISTORY),
        }
        for each, make in makers.items():
            Takeover(client, keys, store, each, encoder.identity, make, wait)()


@dataclass(frozen=True, slots=True)
class Takeover:
    """Makes a collection's log and snapshot this encoder's if they are another one's.

    Attributes:
        client: the server.
        keys: names of logs and leases.
        store: where snapshots are.
        name: of the collection.
        embedder: identity of the encoder in use.
        make: embeds everything there is.
        wait: passes a moment while another one is at it.
    """

    client: Redis
    keys: Keys
    store: Path
    name: str
    embedder: str
    make: Callable[[], Collection]
    wait: Callable[[], None]

    def __call__(self) -> bool:
        """Do it, if need be; of several indexers that start at once, one does.

        Returns:
            Whether this one did. What changed meanwhile is for reconciliation to find.

        Raises:
            TransientError: encoder, disk or Redis failed; what is in use stays in use.
        """
        made: Collection | None = None
        while self._is_anothers():
            with hold(self.client, self.keys.snapshot_lease(f"{self.name}.anew")) as turn:
                if turn is not None:
                    if made is None and snapshot_embedder(self.store, self.name) != self.embedder:
                        remedy = "embedding everything anew, beside what is in use"
                        log.warning("other_encoder", collection=self.name, remedy=remedy)
                        made = self.make()
                    if self._put_in_place(made):
                        log.info("encoder_changed", collection=self.name, embedder=self.embedder)
                        return True
            self.wait()
        return False

    def _is_anothers(self) -> bool:
        try:
            found = log_embedder(self.client, self.keys.vectors(self.name))
        except FatalError:  # of another version: opening the ledger drops it
            return False
        found = found or snapshot_embedder(self.store, self.name)
        return found is not None and found != self.embedder

    def _put_in_place(self, made: Collection | None) -> bool:
        """Write the snapshot, if it is not there yet, and begin the log.

        Under the lease no indexer with the old encoder writes a snapshot between the two.

        Returns:
            Whether that was done; not while another one writes a snapshot.
        """
        log_key, versions_key = self.keys.vectors(self.name), self.keys.file_versions(self.name)
        over = current_token(self.store, self.name)
        with hold(self.client, self.keys.snapshot_lease(self.name), floor=over) as token:
            if token is None:
                return False
            if made is not None:
                write_snapshot(made, self.store, token=token, over=over)
            succeed(self.client, log_key=log_key, versions_key=versions_key, embedder=self.embedder)
            return True
