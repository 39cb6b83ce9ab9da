"""Whether there is an index, undamaged and in step with the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import CortexError, FatalError, TransientError
from ops.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.checks.ground import Ground
    from vectors.manifest import SnapshotInfo


def snapshots(ground: Ground) -> Iterator[Finding]:
    """Compare every snapshot with its checksums and with the encoder of these settings."""
    from vectors.manifest import list_collections

    if not ground.settings.enable_rag:
        yield Finding("snapshots", "ok", "none needed: retrieval is switched off")
        return
    store = ground.settings.store
    names = list_collections(store)
    if not names:
        yield Finding(
            "snapshots",
            "warn",
            f"no index in {store}: decisions get no context",
            f"start cortex indexer, or cortex index build --source . --output {store}",
        )
    for name in names:
        yield _snapshot(ground, name)


def collections(ground: Ground) -> Iterator[Finding]:
    """Look whether there is every collection that masters name."""
    from vectors.manifest import list_collections

    wanted = {source.name for master in ground.masters.all for source in master.sources}
    if absent := sorted(wanted - {*list_collections(ground.settings.store)}):
        names = ", ".join(absent)
        yield Finding("collections", "ok", f"not there, searched as empty: {names}")
    else:
        yield Finding("collections", "ok", f"all there: {', '.join(sorted(wanted))}")


def ages(ground: Ground) -> Iterator[Finding]:
    """Look how far the index of each collection may lag behind the files."""
    from vectors.currency import read_age
    from vectors.manifest import list_collections
    from vectors.memory import HISTORY

    if not ground.config.enable_rag:
        yield Finding("index-age", "ok", "does not matter: retrieval is switched off")
        return
    most = ground.settings.index_age_s
    names = [n for n in list_collections(ground.settings.store) if not n.endswith(HISTORY)]
    for name in names or ["code"]:
        age = read_age(ground.client, ground.keys.vectors(name))
        if age is None:
            yield Finding(
                "index-age", "warn", f"{name}: no indexer ever said", "start cortex indexer"
            )
        elif age > most:
            yield Finding(
                "index-age",
                "warn",
                f"{name}: not in step for {age:,.0f} s; beyond {most} s context is limited",
                "see whether cortex indexer is running, and what its log says",
            )
        else:
            yield Finding("index-age", "ok", f"{name}: in step {age:,.1f} s ago")


def log_gaps(ground: Ground) -> Iterator[Finding]:
    """Look whether the delta log still holds all that came after each snapshot."""
    from vectors.log import Gap, check_gap
    from vectors.manifest import list_collections, read_manifest

    store = ground.settings.store
    infos = [info for name in list_collections(store) if (info := read_manifest(store, name))]
    for info in infos:
        if not info.position.log_id:
            yield Finding("delta-log", "ok", f"{info.collection}: built without a log")
            continue
        try:
            check_gap(ground.client, ground.keys.vectors(info.collection), info.position)
        except Gap as error:
            yield Finding(
                "delta-log",
                "fail",
                f"{info.collection}: {error}; workers cannot follow from the snapshot",
                "let cortex indexer write a new snapshot",
            )
        else:
            yield Finding("delta-log", "ok", f"{info.collection}: complete since the snapshot")
    if not infos:
        yield Finding("delta-log", "ok", "no snapshot to go on from")


def _snapshot(ground: Ground, name: str) -> Finding:
    from vectors.manifest import problems, read_manifest

    store, remedy = ground.settings.store, "run cortex index build, or let an indexer do it"
    try:
        info = read_manifest(store, name)
    except (TransientError, FatalError) as error:
        return Finding("snapshots", "fail", f"{name}: {error}", remedy)
    if info is None:
        return Finding("snapshots", "unknown", f"{name}: replaced while it was looked at")
    if damage := problems(store, info):
        return Finding("snapshots", "fail", f"{name}: {damage[0]}", remedy)
    if strange := _strange_encoder(ground, info):
        return Finding("snapshots", "fail", f"{name}: {strange}", remedy)
    return Finding("snapshots", "ok", f"{name}: {info.snapshot}, {info.files:,} files, undamaged")


def _strange_encoder(ground: Ground, info: SnapshotInfo) -> str | None:
    from vectors.model_source import resolve

    try:
        ours = resolve(ground.settings.encoder).name
    except CortexError as error:
        return str(error)
    theirs = info.embedder.partition(":")[0]
    return None if theirs == ours else f"made with the encoder {theirs}, workers run {ours}"
