"""Writes every decision and outcome to the metrics files, once, whatever ends the process.

There is no list of pending entries: a line names the entries it was made of, so the files say what
is in them, and reading goes on behind that. A group stands on each stream only so that housekeeping
trims nothing unread; it is moved when lines are on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import structlog
from msgspec import DecodeError
from redis.exceptions import ResponseError

from contracts.errors import FatalError, PoisonError
from contracts.parse import parse_outcome
from rollout.archive_file import read_backward
from rollout.archive_join import Join
from rollout.archive_lines import decision_line, late_line, read_decision, read_place, reported
from rollout.archive_settings import MAX_WAIT_S
from rollout.archive_source import Source, id_text, parse_id
from rollout.chain import Head
from streams.keys import ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from rollout.archive_file import ChainFile
    from rollout.archive_join import EntryId
    from streams.keys import Keys

log = structlog.get_logger(__name__)

# Clocks of a cluster's nodes, each of which stamps its own streams, differ by less.
_CLOCKS_MS: Final = 1_000
_START: Final = (0, 0)


class Archive:
    """The metrics file of a deployment and the file of late outcomes beside it."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is read, where it is written, how long it waits
        self,
        client: Redis,
        parts: Sequence[Keys],
        metrics: ChainFile,
        late: ChainFile,
        wait_s: int,
        waiting: int,
    ) -> None:
        """Go on where the files end.

        Args:
            client: connection to the queue's server.
            parts: names of each partition.
            metrics: lines of decisions.
            late: lines of outcomes that came later than `wait_s`, or were not the first.
            wait_s: seconds that a decision waits for its outcome.
            waiting: most decisions that wait.

        Raises:
            FatalError: a file holds lines that are not the archive's.
            redis.RedisError: the server could not be asked.
        """
        self._client, self._keys = client, parts[0]
        self._files = (metrics, late)
        self._join = Join(1_000 * wait_s, waiting)
        self._metrics: list[bytes] = []
        self._late: list[bytes] = []
        self._told: dict[str, EntryId] = {}

        gap = [self._compare(file) for file in self._files]
        outcomes_from = self._group_position(parts[0].outcomes)
        if any(gap) or not metrics.head.number:
            outcomes_from = _START  # what is not in the files any more was not settled
        streams = [part.decisions for part in parts]
        self._written, self._settled = _look_back(self._files, streams, outcomes_from)
        self._outcomes = Source(parts[0].outcomes, outcomes_from)
        self._decisions = [Source(name, self._written[name]) for name in streams]
        for name, position in (*self._written.items(), (parts[0].outcomes, outcomes_from)):
            self._protect(name, position)

    def step(self) -> bool:
        """Read a page of every stream and write what need wait no longer; whether there is more.

        Raises:
            TransientError: the disk refused; the same lines are tried again next time.
            FatalError: another archiver writes lines of these streams.
            redis.RedisError: the server could not be asked; nothing is lost.
        """
        if not (self._metrics or self._late):
            self._read()
        metrics, late = self._files
        metrics.append(self._metrics)
        self._metrics.clear()
        late.append(self._late)
        self._late.clear()
        self._tell()
        return not all(source.drained for source in (self._outcomes, *self._decisions))

    @property
    def waiting(self) -> int:
        """How many decisions wait for their outcomes."""
        return len(self._join)

    def _read(self) -> None:
        seconds, micros = self._client.time()
        now_ms = 1_000 * seconds + micros // 1_000
        # Outcomes first: whatever they are of was decided before, and is read after.
        self._outcomes.read(self._client)
        for source in self._decisions:
            source.read(self._client)
        decided_ms = min(source.known_ms for source in self._decisions)
        horizon = min(decided_ms, self._outcomes.known_ms + _CLOCKS_MS)
        self._process(horizon)
        heard_ms = now_ms if self._outcomes.drained else self._outcomes.read_to[0]
        for each in self._join.ready(min(heard_ms, horizon - _CLOCKS_MS)):
            entry = id_text(each.entry)
            line = decision_line(each.decided, each.stream, entry, each.outcome)
            self._metrics.append(line)
            self._written[each.stream] = each.entry

    def _process(self, horizon: float) -> None:
        """Take what is in the pages up to a moment, in the order in which it happened."""
        due: list[tuple[float, int, EntryId, Source, dict[bytes, bytes]]] = []
        for source in (self._outcomes, *self._decisions):
            after = _CLOCKS_MS if source is self._outcomes else 0
            while source.page and source.page[0][0][0] + after <= horizon:
                entry, fields = source.page.popleft()
                due.append((entry[0] + after, after, entry, source, fields))
                source.processed = entry
        due.sort(key=lambda each: each[:3])
        for _moment, _after, entry, source, fields in due:
            if source is self._outcomes:
                self._hear(entry, fields)
            elif (decided := read_decision(fields.get(b"decision", b""))) is not None:
                self._join.decide(source.name, entry, decided)
            else:
                log.warning("left out: no decision", stream=source.name, entry=id_text(entry))

    def _hear(self, entry: EntryId, fields: dict[bytes, bytes]) -> None:
        if entry in self._settled:
            self._settled.discard(entry)
            return
        try:
            outcome = parse_outcome(fields)
        except PoisonError:
            return  # not written by a master; the learner's dead letters tell
        kept = reported(outcome, id_text(entry))
        if not self._join.report(outcome.task_id, entry, kept):
            self._late.append(late_line(outcome.task_id, kept))

    def _tell(self) -> None:
        """Tell the server what is on disk: where the chains end, and what may be trimmed."""
        heads = {file.path.name: file.head for file in self._files}
        stored = self._heads()
        for name, head in heads.items():
            if stored.get(name, head).number > head.number:
                raise FatalError(f"another archiver writes a {name} of the same streams")
        if stored != heads:
            flat = [part for name, head in heads.items() for part in (name, _shown(head))]
            self._client.hset(self._keys.archive_heads, items=flat)
        for source in self._decisions:
            idle = not len(self._join)
            self._protect(source.name, source.processed if idle else self._written[source.name])
        unwritten = self._join.unwritten()
        heard = self._outcomes.processed
        self._protect(
            self._outcomes.name, heard if unwritten is None else min(heard, _before(unwritten))
        )

    def _protect(self, stream: str, position: EntryId) -> None:
        """Have nothing of a stream trimmed that came after a position."""
        if self._told.get(stream) == position:
            return
        try:
            self._client.xgroup_setid(stream, ARCHIVE, id_text(position))
        except ResponseError as error:
            if "NOGROUP" not in str(error) and "requires the key to exist" not in str(error):
                raise
            self._client.xgroup_create(stream, ARCHIVE, id_text(position), mkstream=True)
        self._told[stream] = position

    def _group_position(self, stream: str) -> EntryId:
        if not self._client.exists(stream):
            return _START
        for group in self._client.xinfo_groups(stream):
            if group["name"] == ARCHIVE.encode():
                return parse_id(group["last-delivered-id"].decode())
        return _START

    def _compare(self, file: ChainFile) -> bool:
        """Go on behind what is known to have been written; whether some of it is gone."""
        known = self._heads().get(file.path.name, Head())
        if known.number <= file.head.number:
            return False
        log.error(
            "lines are gone: cortex audit verify will say so from now on",
            file=str(file.path),
            first=file.head.number + 1,
            last=known.number,
        )
        file.skip_to(known)
        return True

    def _heads(self) -> dict[str, Head]:
        return read_heads(self._client, self._keys)


def read_heads(client: Redis, keys: Keys) -> dict[str, Head]:
    """Read where the chains ended when they were last written, by names of files.

    Raises:
        FatalError: someone else wrote there.
        redis.RedisError: the server could not be asked.
    """
    heads = {}
    for name, value in cast("dict[bytes, bytes]", client.hgetall(keys.archive_heads)).items():
        number, _, digest = value.decode().partition(" ")
        if not number.isdecimal():
            raise FatalError(f"{keys.archive_heads} is malformed: {name.decode()}")
        heads[name.decode()] = Head(int(number), digest)
    return heads


def _look_back(
    files: tuple[ChainFile, ChainFile], streams: Sequence[str], outcomes_from: EntryId
) -> tuple[dict[str, EntryId], set[EntryId]]:
    """See what the files hold: up to where of each stream, and which outcomes of those to come."""
    metrics, late = files
    written: dict[str, EntryId] = {}
    settled: set[EntryId] = set()
    # An outcome that is joined came so much later than its decision at most; and one that was read
    # again is not written further behind than that.
    joined_ms = outcomes_from[0] - 1_000 * MAX_WAIT_S - _CLOCKS_MS
    try:
        for line in read_backward(metrics.path):
            place = read_place(line)
            if place.stream is None or place.entry is None:
                raise FatalError(f"{metrics.path} holds lines that are not the archive's")
            entry = parse_id(place.entry)
            written.setdefault(place.stream, entry)
            if place.outcome_entry:
                settled.add(parse_id(place.outcome_entry))
            if entry[0] < joined_ms and written.keys() >= set(streams):
                break
        for line in read_backward(late.path):
            entry = parse_id(read_place(line).outcome_entry or "0-0")
            if entry[0] < joined_ms:
                break
            settled.add(entry)
    except (DecodeError, OSError) as error:
        raise FatalError(f"cannot read {metrics.path} and {late.path}: {error}") from error
    beyond = {entry for entry in settled if entry > outcomes_from}
    return {name: written.get(name, _START) for name in streams}, beyond


def _before(entry: EntryId) -> EntryId:
    milliseconds, number = entry
    return (milliseconds, number - 1) if number else (max(0, milliseconds - 1), 2**63)


def _shown(head: Head) -> str:
    return f"{head.number} {head.hash}"
