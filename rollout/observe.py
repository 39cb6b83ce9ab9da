"""Follows `decisions` and `outcomes` from the beginning of a rollout, beside every group.

Nothing is kept but counts: whoever takes over reads the streams again, as far back as they go.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from rollout.seen import Heard, Seen
from rollout.tally import MEMORY, Tally
from rollout.timeline import read_timeline, treated_share
from streams import ranges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from contracts.messages import RolloutConfig
    from rollout.observation import Observation
    from streams.keys import Keys

_PAGE: Final = 1_000  # entries per look at one stream
# Clocks of a cluster's nodes, each of which stamps its own streams, differ by less.
_CLOCKS_MS: Final = 60_000
_OUTCOMES: Final = frozenset({b"success", b"failed", b"rerouted"})


class Observer:
    """Follows one deployment's rollouts, one after the other.

    Attributes:
        timeline: the rollout there is.
    """

    def __init__(
        self,
        client: Redis,
        parts: Sequence[Keys],
        defaults: RolloutConfig,
        *,
        window_s: float,
        memory: int = MEMORY,
    ) -> None:
        """Find where the rollout began.

        Args:
            client: connection to the queue's server.
            parts: names of each partition.
            defaults: what holds where nothing was ever set.
            window_s: what is recent; see `rollout.tally.Tally`.
            memory: likewise.

        Raises:
            PoisonError: the live configuration or its log is malformed.
            redis.RedisError: the server could not be asked.
        """
        self._client, self._parts, self._keys = client, parts, parts[0]
        self._defaults, self._memory = defaults, memory
        self._window_ms = max(1, int(1_000 * window_s))
        self._decoder = msgspec.json.Decoder(Seen)
        self.timeline = read_timeline(client, self._keys, defaults)
        self._begin()

    def look(self) -> Observation:
        """Read what there is by now.

        Raises:
            PoisonError: the live configuration or its log is malformed.
            redis.RedisError: the server could not be asked; look again.
        """
        self._follow()
        seconds, micros = self._client.time()
        now_ms = seconds * 1_000 + micros // 1_000
        unread = set(self._position)
        while unread:
            # The one that is furthest behind, so that an outcome finds its decision.
            stream = min(unread, key=lambda name: _moment(self._position[name]))
            if not self._read(stream) or _moment(self._position[stream]) > now_ms:
                unread.discard(stream)
        pinned = self.timeline.config.model is not None
        return self._tally.observation(now_ms, pinned=pinned)

    def _read(self, stream: str) -> bool:
        """Take a page of a stream; whether there may be more."""
        begun = self.timeline.begun
        after = f"({self._position[stream]}"
        page = [*islice(ranges.forward(self._client, stream, after), _PAGE)]
        for entry_id, fields in page:
            if stream == self._keys.outcomes:
                self._hear(fields, _moment(entry_id.decode()))
            else:
                self._see(fields, _moment(entry_id.decode()))
            if self.timeline.begun != begun:
                return True  # another rollout, which has positions of its own
            self._position[stream] = entry_id.decode()
        return len(page) == _PAGE

    def _see(self, fields: Mapping[bytes, bytes], at_ms: int) -> None:
        try:
            seen = self._decoder.decode(fields[b"decision"])
        except (KeyError, msgspec.DecodeError):
            return  # not written by a worker
        if seen.config_version > max(self.timeline.configs):
            self._follow()
        config = self.timeline.configs.get(seen.config_version)
        if config is None or seen.assignment or seen.experiment != config.experiment:
            return
        self._tally.decided(seen, self._share(config), at_ms)

    def _hear(self, fields: Mapping[bytes, bytes], at_ms: int) -> None:
        kind = fields.get(b"outcome", b"")
        if kind not in _OUTCOMES or b"task_id" not in fields or b"master" not in fields:
            return  # not written by a master
        correct = fields.get(b"correct_master")
        heard = Heard(_text(fields[b"master"]), _text(kind), _text(correct) if correct else None)
        self._tally.reported(_text(fields[b"task_id"]), heard, at_ms)

    def _follow(self) -> None:
        """See what became of the configuration; begin anew if that is another rollout."""
        before, self.timeline = (
            self.timeline,
            read_timeline(self._client, self._keys, self._defaults),
        )
        self._shares.clear()
        if self.timeline.begun != before.begun:
            self._begin()
        elif self.timeline.staged != before.staged:
            self._tally.enter(self.timeline.staged)

    def _begin(self) -> None:
        start = f"{max(0, self.timeline.begun_ms - _CLOCKS_MS)}-0"
        streams = [self._keys.outcomes, *(keys.decisions for keys in self._parts)]
        self._position = dict.fromkeys(streams, start)
        self._tally = Tally(self.timeline.staged, window_ms=self._window_ms, memory=self._memory)
        self._shares: dict[int, float] = {}

    def _share(self, config: RolloutConfig) -> float:
        share = self._shares.get(config.version)
        if share is None:
            share = self._shares[config.version] = treated_share(config)
        return share


def _moment(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
