"""Snapshots on a disk that has every amount of room but enough; plays apart (`chaos.apart`)."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from chaos.matrix import Result
from chaos.overtaken import KEYS, Site, put, snapshots_of
from chaos.revisions import opened
from chaos.servers import Server
from chaos.trees import drift, path_of, rescanned
from vectors.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.matrix import Run
    from chaos.trees import Contents
    from indexer.snapshots import Snapshots

_DISK = 4 << 20
_FILES = 120
_PAGE = os.sysconf("SC_PAGE_SIZE")


class _Disk:
    """A small disk; where none can be mounted, a limit to the size of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ("mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder))
        self.mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
        self._ballast = folder / "ballast"

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Leave room for so many bytes."""
        if not self.mounted:
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            return
        self._ballast.write_bytes(b"\0" * (self.free - size))
        try:
            yield
        finally:
            self._ballast.unlink()

    @property
    def free(self) -> int:
        """Bytes that can be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Unmount it, as soon as nobody maps a file of it."""
        if self.mounted:
            subprocess.run(("umount", "--lazy", str(self.folder)), check=True)


def full_disk(run: Run) -> Result:
    """Leave less and less short of what a snapshot needs; then enough."""
    wrong: list[str] = []
    with ExitStack() as stack:
        disk = _Disk(run.directory / "store")
        stack.callback(disk.close)
        server = stack.enter_context(Server(run.directory / "server"))
        client = stack.enter_context(server.client())
        site = Site(run, server, _FILES)
        indexer = site.indexer(client)
        list(indexer.apply(put(*map(path_of, range(_FILES)))))
        snapshots = snapshots_of(client, indexer, site.store)
        snapshots.write()
        snapshots.every_chunks = 1
        before = rescanned(site.root)
        rooms = _rooms(run, site.store, mounted=disk.mounted)
        with capture_logs() as lines:
            for turn, size in enumerate(rooms):
                seq = indexer.ledger.collection.position.seq
                list(indexer.apply(put(site.change(turn % _FILES))))
                if indexer.ledger.refresh() and indexer.ledger.collection.position.seq == seq:
                    wrong.append("nothing is committed while the disk is full")
                with disk.room(size):
                    found = list(_attempt(disk, snapshots, before))
                wrong += [f"with room for {size} bytes: {each}" for each in found]
            said = [line["error"] for line in lines if line["event"] == "snapshot_put_off"]
        if len(said) != 1 or "code" not in said[0]:
            wrong.append(f"said {len(said)} times: {said[:1]}")
        if not snapshots.write() or opened(site.store) != rescanned(site.root):
            wrong.append("there is room, and no snapshot")
        wrong += drift(client, KEYS.vectors("code"), site.store, site.root)
    kind = "tmpfs" if disk.mounted else "RLIMIT_FSIZE"
    return Result(runs=len(rooms), violations=tuple(wrong[:10]), note=kind)


def _rooms(run: Run, store: Path, *, mounted: bool) -> list[int]:
    """Every number of pages short of what the snapshot there takes, or some of them."""
    info = read_manifest(store, "code")
    folder = store / "code" / (info.snapshot if info else "")
    sizes = [-(-path.stat().st_size // _PAGE) * _PAGE for path in folder.iterdir()]
    # Its manifest comes twice. A limit to the size of one file must be below the largest.
    most = sum(sizes) if mounted else max(sizes)
    rooms = list(range(0, most, _PAGE))
    return sorted(run.chance.sample(rooms, min(len(rooms), run.scale(20, len(rooms)))))


def _attempt(disk: _Disk, snapshots: Snapshots, before: Contents) -> Iterator[str]:
    """Try to write; what was there must serve, and nothing else be left."""
    free = disk.free
    snapshots._retry_at = 0.0  # noqa: SLF001 - as if the pause after a failure were over
    if snapshots.write_if_due():
        yield "a snapshot was written"
        return
    if opened(disk.folder) != before:
        yield "the old snapshot does not serve"
    if disk.mounted and disk.free != free:
        yield f"{free - disk.free} bytes are left behind"
