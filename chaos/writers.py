"""Writers of snapshots that are killed or frozen at every change they make to the disk.

These play apart (`chaos.apart`), as they fork.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaos.interrupt import Interrupted
from chaos.matrix import Result
from chaos.revisions import FILES, opened, revised
from chaos.trees import contents
from contracts.errors import CortexError, TransientError
from vectors.collection import Collection
from vectors.manifest import MANIFEST, read_manifest
from vectors.snapshot import verify, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from chaos.matrix import Run

_HOUSEHOLD = {MANIFEST, ".lock"}
_TAKING_OVER = 14  # changes from the manifest's writing on, and some
_TIDYING = 12  # more changes where there is an older snapshot to remove


def torn(run: Run) -> Result:
    """Kill a writer before each change it makes: over a snapshot, and where there is none yet."""
    wrong: list[str] = []
    runs = 0
    slowest = 0.0
    points = _points(run)
    for first in (False, True):
        store = run.directory / ("first" if first else "next")
        for call, took, found in _kills(store, points, first=first):
            runs += 1
            slowest = max(slowest, took)
            wrong += [f"killed before {call} ({runs}): {each}" for each in found]
    return Result(runs=runs, recovery=slowest, violations=tuple(wrong[:10]), note="system calls")


def _points(run: Run) -> list[int]:
    """Where to kill: everywhere, or where the new snapshot takes over and at some points before."""
    changes = Interrupted.count(_Writing(run.directory / "counted", FILES, 1))
    begun = range(1, changes - _TAKING_OVER)
    some = sorted(run.chance.sample(begun, run.scale(len(begun) // 8, len(begun))))
    return [*some, *range(changes - _TAKING_OVER, changes + _TIDYING)]


def _kills(
    store: Path, points: Iterable[int], *, first: bool
) -> Iterator[tuple[str, float, list[str]]]:
    """Kill at each point in turn; yields the call, seconds of the next snapshot, what was wrong."""
    for turn, point in enumerate(points, 1):
        home = store / str(turn) if first else store
        revision = FILES + 2 * turn
        before = None if first else revision - 2
        if before and read_manifest(home, "code") is None:
            write_snapshot(revised(before), home, token=1)
        reader = before and Collection.open(home, "code")
        token = 2 * turn
        work = _Writing(home, revision - 1, token)
        with Interrupted(work, point) as writer:
            if not writer.call:
                return
        found = _after_the_kill(home, before, revision - 1)
        begun = time.monotonic()
        write_snapshot(revised(revision), home, token=token + 1)
        took = time.monotonic() - begun
        if opened(home) != contents(revised(revision)):
            found.append("the next snapshot is another one than was written")
        if reader and contents(reader) != contents(revised(before or 0)):
            found.append("a reader that was there lost what it had")
        yield writer.call, took, found + _litter(home)


class _Writing:
    """Writes one revision, when called."""

    def __init__(self, store: Path, revision: int, token: int) -> None:
        self._store, self._token = store, token
        self._collection = revised(revision)

    def __call__(self) -> None:
        write_snapshot(self._collection, self._store, token=self._token)


def _after_the_kill(store: Path, before: int | None, after: int) -> list[str]:
    """What a reader finds must be one of the two, verified."""
    try:
        in_place = read_manifest(store, "code") is not None
        if before is not None and not in_place:
            return ["the manifest is lost"]
        found = opened(store)
    except CortexError as error:
        nothing_yet = before is None and isinstance(error, TransientError)
        return [] if nothing_yet and "no snapshot" in str(error) else [str(error)]
    allowed = [contents(revised(each)) for each in (before, after) if each is not None]
    damage = verify(store, "code") if in_place else []
    return damage if found in allowed else [*damage, "neither the old nor the new snapshot"]


def _litter(store: Path) -> list[str]:
    """What is there besides the snapshot in place and the one before."""
    info = read_manifest(store, "code")
    expected = _HOUSEHOLD | ({info.snapshot, info.previous} if info else set())
    left = {path.name for path in (store / "code").iterdir()} - expected
    return [f"left behind: {name}" for name in sorted(left)]
