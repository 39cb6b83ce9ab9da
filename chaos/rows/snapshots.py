"""Faults of snapshots: torn, overtaken, damaged, and without room."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec

from chaos.apart import apart
from chaos.damage import HARMS, handed_over, replace
from chaos.matrix import Result, Row
from chaos.revisions import FILES, opened, revised
from chaos.trees import contents
from contracts.errors import CortexError
from vectors.disk import encode_sealed
from vectors.manifest import MANIFEST, problems
from vectors.snapshot import verify, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.matrix import Run
    from chaos.trees import Contents
    from vectors.manifest import SnapshotInfo

DATA = ("vectors.faiss", "chunks.sqlite", "columns.npy", "postings.ids", "postings.counts")
_BOTH = 0.2  # share of trials in which no snapshot stays whole


class _Pair:
    """A store with a snapshot in place and the one before, and what each holds."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self.held: list[Contents] = []
        self.infos: list[SnapshotInfo] = []
        for token in (1, 2):
            collection = revised(FILES + token)
            self.infos.append(write_snapshot(collection, store, token=token))
            self.held.append(contents(collection))

    def copy(self, target: Path) -> Path:
        """A store to damage."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self._store, target)
        return target


def damaged(run: Run) -> Result:
    """Flip, cut, replace and delete files of a snapshot, each kind at positions by chance."""
    wrong: list[str] = []
    pair = _Pair(run.directory / "store")
    turns = run.scale(60, 400)
    for turn in range(turns):
        store = pair.copy(run.directory / "damaged")
        name = run.chance.choice((MANIFEST, *pair.infos[1].checksums))
        home = store / "code"
        newer = home if name == MANIFEST else home / pair.infos[1].snapshot
        victims = [newer / name]
        if run.chance.random() < _BOTH:
            others = pair.infos if name == MANIFEST else pair.infos[:1]
            victims += [home / each.snapshot / run.chance.choice(DATA) for each in others]
        harms = [run.chance.choice(HARMS) for _ in victims]
        for harm, victim in zip(harms, victims, strict=True):
            harm(victim, run.chance)
        allowed = [] if len(victims) > 1 else [pair.held[1 if name == MANIFEST else 0]]
        what = ", ".join(f"{h.__name__} {v.name}" for h, v in zip(harms, victims, strict=True))
        wrong += [f"{turn}, {what}: {each}" for each in _read(pair, store, allowed)]
    wrong += _lies(pair, run.directory / "damaged")
    return Result(runs=turns + 2, violations=tuple(wrong[:10]), note="seeded positions")


def _lies(pair: _Pair, target: Path) -> Iterator[str]:
    """Sealed manifests that are not true: one points to nothing, one names another encoder."""
    for lie, allowed in (({"snapshot": "nothing"}, pair.held[1:]), ({"embedder": "another"}, [])):
        store = pair.copy(target)
        manifest = encode_sealed(msgspec.structs.replace(pair.infos[1], **lie))
        replace(store / "code" / MANIFEST, manifest)
        found = [each for each in _read(pair, store, allowed) if "embedder" not in lie]
        yield from (f"{lie}: {each}" for each in found)


def _read(pair: _Pair, store: Path, allowed: list[Contents]) -> Iterator[str]:
    """Open a store; one of what is allowed must be served, or nothing where nothing is."""
    broken = {store / "code" / each.snapshot for each in pair.infos if problems(store, each)}
    with handed_over() as folders:
        try:
            found = opened(store)
        except CortexError as error:
            if allowed:
                yield f"nothing is served: {error}"
        else:
            if found not in allowed:
                yield "something else is served"
            if not folders:
                yield "the watch is blind"
    if folders & broken:
        yield "FAISS, SQLite or NumPy are handed a damaged snapshot"
    if not verify(store, "code"):
        yield "the damage is not found by verifying"


ROWS = (
    Row(
        "torn-snapshot",
        "killed at any change of the disk: the old snapshot or the new one serves, and no litter",
        apart("chaos.writers:torn"),
    ),
    Row(
        "damaged-snapshot",
        "refused before FAISS or SQLite read it; the one before serves, or none",
        damaged,
    ),
    Row(
        "two-indexers",
        "an indexer that was frozen puts no older snapshot and no older file over a newer one",
        apart("chaos.overtaken:stale_lease"),
    ),
    Row(
        "index-disk-full",
        "the old snapshot serves, commits go on, no litter; the next one succeeds with room",
        apart("chaos.full_disk:full_disk"),
    ),
)
