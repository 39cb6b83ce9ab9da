"""Trees of made-up sources that change under an indexer, and what its index must be in the end."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from chaos.faulty import WordEncoder
from chaos.fleet import Fleet
from chaos.servers import wait_until
from indexer.build import build_store
from streams import ranges
from vectors.collection import Collection
from vectors.follow import Follower

if TYPE_CHECKING:
    from redis import Redis

    from chaos.arena import Arena
    from chaos.matrix import Run
    from vectors.types import Chunk

    Contents = dict[str, tuple[str, list[tuple[Chunk, bytes]]]]

_NOUNS = ("invoice", "session", "header", "ticket", "cursor", "account", "payload", "route")
_SEEN_WITHIN = 0.5  # seconds until a watcher that listens has announced a change
_TO_CHANGE = 0.3  # share of files that differ between two revisions


def path_of(number: int) -> str:
    """Where a file of a tree is."""
    return f"part{number % 50}/m{number}.py"


def source_text(number: int, revision: int = 0) -> str:
    """A short module, like no other number's or revision's."""
    draw = random.Random(f"{number}.{revision}")
    noun, other = draw.choice(_NOUNS), draw.choice(_NOUNS)
    return (
        f'"""How the {noun} is rendered for its {other}, case {number}."""\n\n\n'
        f"def render_{noun}_{number}({other}, limit={draw.randrange(1000)}):\n"
        f"    found = [each for each in {other}.{noun}s if each.weight > {draw.randrange(99)}]\n"
        f"    return sorted(found, key=lambda each: each.part)[:limit]  # {revision}\n"
    )


def write_tree(root: Path, count: int) -> None:
    """Write files 0 to `count` - 1."""
    for number in range(count):
        write(root, path_of(number), source_text(number))


def switch_tree(root: Path, count: int, revision: int) -> int:
    """Switch a tree as a checkout does, unlinking before writing; returns how many files differ.

    Of ten that differ seven are rewritten, one goes or comes back and two move.
    """
    differing = range(0, count, round(1 / _TO_CHANGE))
    for number in differing:
        path, moved = path_of(number), path_of(number).replace("/m", "/moved")
        kind = number // differing.step % 10
        for each in (path, moved):
            (root / each).unlink(missing_ok=True)
        if kind < 7 or (kind == 7 and revision % 2 == 0):  # noqa: PLR2004 - see above
            write(root, path, source_text(number, revision))
        elif kind > 7:  # noqa: PLR2004 - see above
            write(root, moved if revision % 2 else path, source_text(number))
    return len(differing)


def write(root: Path, relative: str, text: str) -> None:
    """Write a file, with the directories it needs."""
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Watch:
    """A `cortex watch` over a directory, for as long as the block lasts."""

    def __init__(self, arena: Arena, root: Path) -> None:
        """Describe it."""
        directory = arena.run.directory / "watch"
        directory.mkdir(exist_ok=True)
        command = (sys.executable, "-m", "ops.cli", "watch", str(root))
        self._fleet = Fleet(arena.url, directory, command)
        self._arena, self._root = arena, root

    def __enter__(self) -> Self:
        self._fleet.start()
        wait_until(self._listens, "the watcher listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._fleet.close()

    def _listens(self) -> bool:
        """Make a change of no consequence, and see whether it is announced."""
        probe, announced = self._root / "probe.bin", threading.Event()
        probe.write_bytes(b"\0" + random.randbytes(8))
        stream = self._arena.parts[0].files

        def seen() -> bool:
            found = ranges.backward(self._arena.client, stream)
            return any(fields[b"path"] == b"probe.bin" for _, fields in found)

        for _ in range(10):
            if seen():
                return True
            announced.wait(_SEEN_WITHIN / 10)
        return False


class Restless:
    """Creates, rewrites, truncates, moves and deletes files and directories, on a thread."""

    def __init__(self, root: Path, run: Run, per_second: float = 500.0) -> None:
        """Change files below `root` so many times a second."""
        self._root = root
        self._chance = random.Random(run.chance.random())
        self._pause = 1 / per_second
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="restless", daemon=True)
        self.changes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        acts = (
            self._write_slowly,
            self._write_slowly,
            self._write_slowly,
            self._replace,
            self._replace,
            self._truncate,
            self._delete,
            self._move,
            self._move_directory,
            self._delete_directory,
        )
        while not self._stopping.wait(self._pause):
            with suppress(OSError):  # what it would change is not there: so be it
                self._chance.choice(acts)()
            self.changes += 1

    def _file(self) -> Path:
        return self._root / path_of(self._chance.randrange(200))

    def _directory(self) -> Path:
        return self._root / f"part{self._chance.randrange(50)}"

    def _text(self) -> str:
        return source_text(self._chance.randrange(200), self._chance.randrange(10**6))

    def _write_slowly(self) -> None:
        """In place and in two halves, so that readers may see it torn."""
        path, text = self._file(), self._text()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            self._stopping.wait(self._chance.random() * 0.002)
            file.write(text[len(text) // 2 :])

    def _replace(self) -> None:
        path = self._file()
        staged = path.with_suffix(".tmp")
        staged.write_text(self._text())
        staged.replace(path)

    def _truncate(self) -> None:
        with self._file().open("r+") as file:
            file.truncate(self._chance.randrange(100))

    def _delete(self) -> None:
        self._file().unlink()

    def _move(self) -> None:
        self._file().replace(self._file())

    def _move_directory(self) -> None:
        source, target = self._directory(), self._directory()
        if self._chance.random() < 0.5:  # noqa: PLR2004 - heads or tails
            target /= f"below{self._chance.randrange(3)}"
        source.rename(target)

    def _delete_directory(self) -> None:
        if self._chance.random() < 0.2:  # noqa: PLR2004 - else hardly anything would stay
            shutil.rmtree(self._directory())


def differences(arena: Arena, root: Path) -> list[str]:
    """Paths at which the live index, as a new worker would see it, differs from a rescan."""
    return drift(arena.client, arena.parts[0].vectors("code"), arena.run.directory / "store", root)


def drift(client: Redis, log_key: str, store: Path, root: Path) -> list[str]:
    """Paths at which store and log, as a new reader sees them, differ from a rescan of `root`."""
    encoder = WordEncoder()
    collection = Collection.empty("code", encoder.dim, encoder.identity)
    collection.reload_if_newer(store)
    follower = Follower(client, collection, store, log_key)
    while follower.poll():
        pass
    return unlike(contents(collection), rescanned(root))


def unlike(live: Contents, fresh: Contents) -> list[str]:
    """Paths at which two differ."""
    return sorted(path for path in live.keys() | fresh.keys() if live.get(path) != fresh.get(path))


def rescanned(root: Path) -> Contents:
    """What an index built now has."""
    with tempfile.TemporaryDirectory(dir=root.parent) as store:
        build_store(root, Path(store), WordEncoder())
        return contents(Collection.open(Path(store), "code"))


def contents(collection: Collection) -> Contents:
    """By path: the content's hash, and the chunks in order, each with its vector."""
    found: Contents = {path: (state.content_hash, []) for path, state in collection.files().items()}
    for segment in collection.freeze().segments:
        ids = np.flatnonzero(segment.alive)
        vectors = segment.vectors(ids).astype("<f2")
        chunks = segment.chunks(ids.tolist())
        for file, chunk, vector in zip(segment.columns.file[ids], chunks, vectors, strict=True):
            found[segment.path(int(file))][1].append((chunk, vector.tobytes()))
    for _, of_file in found.values():
        of_file.sort(key=lambda pair: (pair[0].start_line, pair[0].text))
    return found
