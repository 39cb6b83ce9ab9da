"""Which models on disk are to serve: the operator's, or else the packaged one."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import CortexError, FatalError
from registry.folder import CONFIG, HEAD, MANIFEST, read_manifest
from registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.settings import Settings

PACKAGED = Path(str(files("registry").joinpath("seed")))


class ModelFolders:
    """Where models are; what is there may change at any time.

    A registry that names no champion yet leaves that to the packaged model, so that outcomes can be
    learned from before anything was ever promoted.
    """

    def __init__(self, path: Path, packaged: Path = PACKAGED) -> None:
        """Look at nothing yet.

        Args:
            path: root of a registry, or the folder of one model; it need not exist yet.
            packaged: folder of the model that serves where nothing else is named, if it is there.
        """
        self._path = path
        self._packaged = packaged
        self._seen = False

    def find(self, pinned: str | None, arms: Iterable[str] = ()) -> dict[str, Path]:
        """Return the folder of each model that is named, under what it serves as.

        Args:
            pinned: version or alias that the live configuration names, if it does. It takes the
                champion's place; who it replaced is `unpinned`.
            arms: versions and aliases that arms name.

        Returns:
            `champion` first, `challenger`, `previous`, `unpinned` and what arms name, each as they
            do, as far as there are any. No folder was looked into.

        Raises:
            CortexError: the registry cannot be read or is gone, or nothing is called `pinned`.
        """
        is_model = any((self._path / name).exists() for name in (MANIFEST, CONFIG, HEAD))
        named = {"champion": self._path} if is_model else self._registered()
        of_arms = {name: folder for name in arms if (folder := self._known(name, named))}
        if pinned is None or pinned == "champion":
            return named | of_arms
        replaced = {"unpinned": named["champion"]} if "champion" in named else {}
        others = replaced | _but_champion(named | of_arms)
        return {"champion": self._called(pinned, named)} | others

    def _registered(self) -> dict[str, Path]:
        named: dict[str, Path] = {}
        if (self._packaged / MANIFEST).exists():
            named["champion"] = self._packaged
        if Registry.at(self._path):
            self._seen = True
            # Not `path`: an alias of nothing must not keep the others from being followed.
            versions = self._path / "versions"
            aliases = Registry(self._path).aliases()
            named |= {alias: versions / version for alias, version in aliases.items()}
        elif self._seen:
            raise FatalError(f"{self._path}: the registry is gone")
        return named

    def _known(self, name: str, named: dict[str, Path]) -> Path | None:
        try:
            return named.get(name) or self._called(name, named)
        except CortexError:
            return None

    def _called(self, name: str, named: dict[str, Path]) -> Path:
        for folder in named.values():
            if (folder / MANIFEST).exists() and read_manifest(folder).version == name:
                return folder
        return Registry(self._path).path(name)


def _but_champion(named: dict[str, Path]) -> dict[str, Path]:
    return {alias: folder for alias, folder in named.items() if alias != "champion"}


def model_folders(settings: Settings) -> ModelFolders:
    """Return where a worker with these settings finds its models."""
    return ModelFolders(Path(settings.model_path or Path(settings.data_dir, "models")))
