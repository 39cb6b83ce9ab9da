"""Versions of models on one host, and which of them serves as what.

versions/<version>/    immutable, see `registry.folder`
aliases.json           what each alias means; see `registry.changes`
history.jsonl          who changed that, when and why

Any number of processes may read and change it, and any may be killed at any moment: readers see the
state before a change or the state after it.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from contracts.errors import FatalError, TransientError
from registry.changes import Action, Change, Changes, Token
from registry.folder import ALIASES, BadModelError, read_manifest, verify
from registry.opening import check_model
from vectors.disk import locked, sync, unfinished_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_VERSIONS = "versions"
_LOCK_S = 30.0  # a model is verified under the lock: a second or so where it has its own encoder


class Version(Struct, frozen=True, kw_only=True):
    """A version as its manifest has it.

    Attributes:
        bytes: of all its files.
        aliases: what it serves as.
        problem: why its manifest is not to be read; the rest is empty then.
    """

    version: str
    created_at: str = ""
    data_fingerprint: str = ""
    bytes: int = 0
    aliases: tuple[str, ...] = ()
    problem: str | None = None


class Registry:
    """A folder of models. Opening one touches nothing; the first `add` makes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._versions = root / _VERSIONS
        self._changes = Changes(root)

    @staticmethod
    def at(path: Path) -> bool:
        """Whether a folder is a registry."""
        return (path / _VERSIONS).is_dir()

    def add(self, staged: Path) -> str:
        """Copy a sealed folder in as a new version; nothing where the same one is there already.

        Returns:
            Its version. What is under it never changes again.

        Raises:
            BadModelError: the folder is refused, or another model has its version.
            TransientError: the disk failed; the registry is as it was.
        """
        manifest = check_model(staged)
        final = self._versions / manifest.version
        with self._writing():
            self._versions.mkdir(parents=True, exist_ok=True)
            sync(self.root)
            with unfinished_folder(self._versions, _LOCK_S) as folder:
                shutil.copytree(staged, folder, symlinks=True, dirs_exist_ok=True)
                verify(folder)
                _settle(folder)
                with locked(self._versions, _LOCK_S):
                    if not final.exists():
                        folder.rename(final)
                        sync(self._versions)
        if read_manifest(final).files != manifest.files:
            raise BadModelError(f"{staged}: another model is registered as {manifest.version}")
        return manifest.version

    def versions(self) -> list[Version]:
        """Every version, oldest first."""
        now = self._changes.last()
        found = [_described(self._versions / name, now) for name in self._names()]
        return sorted(found, key=lambda each: (each.created_at, each.version))

    def path(self, name: str) -> Path:
        """Folder of a version, or of what an alias means now.

        Raises:
            FatalError: there is none.
        """
        return self._versions / self._resolve(name, self._changes.last())

    def aliases(self) -> dict[str, str]:
        """What `champion`, `challenger` and `previous` mean now, as far as they mean anything.

        Raises:
            TransientError: that cannot be read.
            FatalError: somebody has damaged it.
        """
        return self._changes.last().aliases

    def aliases_if_changed(self, token: Token | None) -> tuple[Token, dict[str, str]] | None:
        """Ask for changes, as often as you like: without any it costs one stat(2).

        Args:
            token: what came with the last answer; None at first.

        Returns:
            A token for the next time, and the aliases; None where nothing changed.

        Raises:
            TransientError: the aliases cannot be read.
            FatalError: somebody has damaged them.
        """
        # Taken before the content, so that it is never newer than what comes with it.
        now = self._changes.token()
        return None if now == token else (now, self.aliases())

    def promote(self, version: str | None = None, *, who: str, why: str = "") -> Change:
        """Make a version the champion, by default the challenger.

        Returns:
            What holds now.

        Raises:
            BadModelError: the version is damaged, or no model of this program; nothing changed.
            FatalError: there is no such version, or no challenger.
            TransientError: the disk failed, or another process did not let go of the registry.
        """

        def decide(now: Change) -> Change:
            chosen = self._resolve(version or "challenger", now)
            return now if chosen == now.champion else now.crowned(chosen, now.champion)

        return self._change("promote", decide, who, why)

    def challenge(self, version: str, who: str, why: str = "") -> Change:
        """Make a version the challenger; result and errors as of `promote`."""

        def decide(now: Change) -> Change:
            chosen = self._resolve(version, now)
            if chosen == now.champion:
                raise FatalError(f"{chosen} is the champion: it cannot challenge itself")
            return msgspec.structs.replace(now, challenger=chosen)

        return self._change("challenge", decide, who, why)

    def retire(self, who: str, why: str = "") -> Change:
        """Have no challenger any more; result and errors as of `promote`."""

        def decide(now: Change) -> Change:
            return msgspec.structs.replace(now, challenger=None)

        return self._change("retire", decide, who, why)

    def rollback(self, who: str, why: str = "") -> Change:
        """Make the previous champion the champion again; result and errors as of `promote`.

        What is rolled back is previous to nothing: a second rollback does not bring it back.
        """

        def decide(now: Change) -> Change:
            return now.crowned(self._resolve("previous", now), None)

        return self._change("rollback", decide, who, why)

    def history(self) -> list[Change]:
        """Every change, oldest first; errors as of `aliases`."""
        return self._changes.all()

    def _change(
        self, action: Action, decide: Callable[[Change], Change], who: str, why: str
    ) -> Change:
        if not self.at(self.root):
            raise FatalError(f"{self.root} is no registry of models")
        with self._writing(), locked(self.root, _LOCK_S):
            now = self._changes.last()
            wanted = decide(now)
            if wanted == now:
                return now
            self._check(wanted, now)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            change = msgspec.structs.replace(
                wanted, number=now.number + 1, at=at, who=who, why=why, action=action
            )
            self._changes.record(change)
        return change

    def _check(self, wanted: Change, now: Change) -> None:
        """Refuse what newly serves as something and cannot."""
        for version, before in (
            (wanted.champion, now.champion),
            (wanted.challenger, now.challenger),
        ):
            if version in {None, before}:
                continue
            folder = self._versions / version
            if (found := check_model(folder).version) != version:
                raise BadModelError(f"{folder}: it is {found}")

    def _resolve(self, name: str, now: Change) -> str:
        version = now.aliases.get(name) if name in ALIASES else name
        if version is None:
            raise FatalError(f"{self.root}: there is no {name} model")
        if version not in self._names():
            raise FatalError(f"{self.root}: there is no model {version!r}")
        return version

    def _names(self) -> list[str]:
        try:
            return [
                path.name
                for path in self._versions.iterdir()
                if path.is_dir() and not path.name.startswith(".")
            ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TransientError(f"cannot read {self._versions}: {error.strerror}") from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError as error:
            raise TransientError(f"another process holds the lock of {self.root}") from error
        except OSError as error:
            raise TransientError(
                f"cannot write to {self.root}: {error.strerror or error}"
            ) from error


def _described(folder: Path, now: Change) -> Version:
    aliases = tuple(name for name, version in now.aliases.items() if version == folder.name)
    try:
        manifest = read_manifest(folder)
    except BadModelError as error:
        return Version(version=folder.name, aliases=aliases, problem=str(error))
    return Version(
        version=folder.name,
        created_at=manifest.created_at,
        data_fingerprint=manifest.data_fingerprint,
        bytes=manifest.size,
        aliases=aliases,
    )


def _settle(folder: Path) -> None:
    """Make files read-only, and have all of them survive a power failure."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
        sync(path)
    sync(folder)
