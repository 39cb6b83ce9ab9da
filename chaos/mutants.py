"""Wrong ways to run the queue, kept to prove that the checks would notice.

Each is ours with one thing wrong. Where that is a Lua script, a piece of the real text is replaced,
so that the mutant follows what it mutates; a piece that is no longer there is an error.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from redis.exceptions import ResponseError

from chaos.simulation.system import Settle, System
from contracts.errors import FatalError
from streams.consumer import Consumer
from streams.dead import encode_payload
from streams.entry import Bury, Entry, Leave, Publish
from streams.scripts import source
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from streams.consumer import Stale
    from streams.entry import Settlement
    from streams.keys import Keys
    from streams.settle import Verdict

    Batch = Sequence[Settlement]


class Whose(TypedDict):
    """The keyword arguments of `settle`."""

    group: str
    consumer: str
    window_ms: int


class Rewritten:
    """A client for which one script has another text.

    Raises:
        FatalError: a piece to replace is not there exactly once.
    """

    def __init__(self, client: Redis, script: str, *pieces: tuple[str, str]) -> None:
        text, self._sha = source(script)
        self._client, self._text = client, text.decode()
        for old, new in pieces:
            if self._text.count(old) != 1:
                raise FatalError(f"{script}.lua does not have exactly once: {old}")
            self._text = self._text.replace(old, new)

    def evalsha(self, sha: str, *args: Any) -> Any:  # noqa: ANN401 - as redis-py
        """Run the other text in the place of the one asked for."""
        if sha == self._sha:
            return self._client.eval(self._text, *args)
        return self._client.evalsha(sha, *args)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the client has
        return getattr(self._client, name)


# -- settling without a script -------------------------------------------------------------------


def acknowledge_first(
    client: Redis, keys: Keys, batch: Batch, **whose: Unpack[Whose]
) -> list[Verdict]:
    """Acknowledge, then publish: a crash in between loses the task."""
    for each in _meant(batch):
        client.xack(each.entry.stream, whose["group"], each.entry.id)
        _write(client, keys, each)
    return _said(batch)


def publish_first(client: Redis, keys: Keys, batch: Batch, **whose: Unpack[Whose]) -> list[Verdict]:
    """Publish, then acknowledge: a crash in between doubles the decision."""
    for each in _meant(batch):
        _write(client, keys, each)
        client.xack(each.entry.stream, whose["group"], each.entry.id)
    return _said(batch)


def mark_first(client: Redis, keys: Keys, batch: Batch, **whose: Unpack[Whose]) -> list[Verdict]:
    """Mark as done, then publish: after a crash in between nobody publishes it."""
    for each in _meant(batch):
        task_id = getattr(each, "task_id", None)
        if task_id is None or client.set(
            keys.done(task_id), each.entry.id, nx=True, px=whose["window_ms"]
        ):
            _write(client, keys, each)
        client.xack(each.entry.stream, whose["group"], each.entry.id)
    return _said(batch)


def multi(client: Redis, keys: Keys, batch: Batch, **whose: Unpack[Whose]) -> list[Verdict]:
    """A transaction is all or nothing, but asks nobody whether the entry is still ours."""
    with client.pipeline(transaction=True) as pipe:
        for each in _meant(batch):
            _write(pipe, keys, each)
            pipe.xack(each.entry.stream, whose["group"], each.entry.id)
        pipe.execute()
    return _said(batch)


# -- settling, and then too much -----------------------------------------------------------------


def acknowledge_batch(
    client: Redis, keys: Keys, batch: Batch, **whose: Unpack[Whose]
) -> list[Verdict]:
    """Acknowledge the whole batch although a part of it was to be tried again."""
    verdicts = settle(client, keys, batch, **whose)
    for each in batch:
        client.xack(each.entry.stream, whose["group"], each.entry.id)
    return verdicts


def acknowledge_fenced(
    client: Redis, keys: Keys, batch: Batch, **whose: Unpack[Whose]
) -> list[Verdict]:
    """Acknowledge what another consumer owns now, who is then told it was dealt with."""
    verdicts = settle(client, keys, batch, **whose)
    for each, verdict in zip(batch, verdicts, strict=True):
        if verdict == "fenced":
            client.xack(each.entry.stream, whose["group"], each.entry.id)
    return verdicts


def _meant(batch: Batch) -> list[Settlement]:
    return [each for each in batch if not isinstance(each, Leave)]


def _said(batch: Batch) -> list[Verdict]:
    return ["left" if isinstance(each, Leave) else "settled" for each in batch]


def _write(client: Redis, keys: Keys, each: Settlement) -> None:
    if isinstance(each, Publish):
        for key, decision in (
            (keys.master(each.master), each.payload),
            (keys.decisions, each.audit),
        ):
            client.xadd(key, {"task_id": each.task_id, "decision": decision})
    elif isinstance(each, Bury):
        entry = each.entry
        letter = {
            "source": entry.stream,
            "entry_id": entry.id,
            "reason": each.reason,
            "detail": each.detail,
            "payload": encode_payload(entry.fields),
            "attempts": entry.attempt,
            "at": "2026-01-01T00:00:00Z",
        }
        client.xadd(keys.dead, cast("dict[Any, Any]", letter))


# -- settling with another script ----------------------------------------------------------------


def _settle_with(*pieces: tuple[str, str]) -> Settle:
    def mutant(client: Redis, keys: Keys, batch: Batch, **whose: Unpack[Whose]) -> list[Verdict]:
        return settle(cast("Redis", Rewritten(client, "settle", *pieces)), keys, batch, **whose)

    return mutant


_OWNERSHIP = """  if not mine[id] then
    local pending = call('XPENDING', source, group, id, id, 1)[1]
    if not pending then return DUPLICATE end
    if pending[2] ~= consumer then return FENCED end
  end
"""
_DONE = "if mark and (done[mark] or done[KEYS[first_mark + mark]]) then"
_BLOCKED = "if not writable[target] then return hand_back(id, BLOCKED) end"
_BURY = "call('XDEL', source, id)\n  return finish(id, mark)"
_AUDIT = "call('XADD', decisions, '*', 'task_id', task_id, 'decision', audit)"

# By name: ways to settle that are wrong.
MUTANTS: dict[str, Settle] = {
    "acknowledge-first": acknowledge_first,
    "publish-first": publish_first,
    "mark-first": mark_first,
    "multi": multi,
    "acknowledge-batch": acknowledge_batch,
    "acknowledge-fenced": acknowledge_fenced,
    # A worker that wakes after its lease, and after the window, publishes what another has settled.
    "no-ownership": _settle_with((_OWNERSHIP, "")),
    # A task submitted twice is decided twice.
    "no-idempotency": _settle_with((_DONE, "if false then")),
    # A WRONGTYPE in the middle of the script finds the entry acknowledged and not published.
    "acknowledge-inside-first": _settle_with((_BLOCKED, "call('XACK', source, group, id)")),
    # A task submitted twice has two dead letters.
    "unmarked-bury": _settle_with((_BURY, _BURY.replace("finish(id, mark)", "finish(id)"))),
    "no-audit": _settle_with((_AUDIT, "")),
}


# -- other steps ---------------------------------------------------------------------------------


class LateGroup(Consumer):
    """Begins a new group at the stream's end: what was submitted before it is never read."""

    def join(self) -> list[str]:
        """Enter each group at `$`."""
        for stream in self.streams:
            with suppress(ResponseError):  # it is there
                self.client.xgroup_create(stream, self.group, id="$", mkstream=True)
        return super().join()


class Uncounted(Consumer):
    """Claims without counting a delivery: what kills its workers goes on for ever."""

    def claim(self, stale: Stale) -> Entry | None:
        """Take over one entry as if it were new."""
        reply = self.client.xclaim(
            stale.stream, self.group, self.name, self.lease_ms, [stale.id.decode()], retrycount=1
        )
        taken = cast("list[tuple[bytes, dict[bytes, bytes]]]", reply)
        return next((Entry(stale.stream, *each, 1, 0.0) for each in taken), None)


class Impatient(Consumer):
    """Claims what others are still busy with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "lease_ms", 0)


def _dressed(script: str, *pieces: tuple[str, str]) -> System:
    return System(dress=lambda client: cast("Redis", Rewritten(client, script, *pieces)))


# By name: every wrong queue, those that settle wrongly and those that go wrong elsewhere.
SYSTEMS: dict[str, System] = {
    **{name: System(settle=way) for name, way in MUTANTS.items()},
    "late-group": System(consumer=LateGroup),
    "uncounted-claim": System(consumer=Uncounted),
    "impatient-claim": System(consumer=Impatient),
    # A renewal takes back what another has claimed since.
    "renew-takes-back": _dressed("renew", ("if pending then", "if true then")),
    # Leaving drops what is pending.
    "leave-drops": _dressed(
        "leave",
        (
            "if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then",
            "if false then",
        ),
    ),
    # Trimming takes what a worker holds, which nobody can claim from it then.
    "trim-pending": _dressed("trim", ("if group['pending'] > 0 then", "if false then")),
    # A replayed dead letter stays, next to what becomes of its task.
    "replay-keeps-letter": _dressed("replay", ("redis.call('XDEL', KEYS[1], ARGV[1])", "")),
}
