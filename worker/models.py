"""The models a worker runs, changed under it while it works.

A model is opened on a thread of its own and put in place when it is ready; a batch asks once which
models there are and so sees no change. Every model that an alias names is kept open: whatever
happens among those, a rollback above all, takes effect with the next look.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog

from contracts.errors import CortexError
from telemetry.complaint import Complaint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from contracts.messages import RolloutConfig
    from router.model import Model

    # A folder and what stat(2) says of its files: once that changes, it is another model.
    Place = tuple[Path, tuple[tuple[str, int, int], ...]]

log = structlog.get_logger()

_EVERY = 0.3  # seconds; workers promise to follow a change within one
_PATIENCE = 2.0  # seconds; to end amid native code is no clean end


class Serving(NamedTuple):
    """The models of one configuration.

    Attributes:
        champion: decides in treatment, also where the configuration has another in its place.
        challenger: is only listened to.
        arms: decide in arms that name them, by those names.
    """

    champion: Model | None
    challenger: Model | None
    arms: dict[str, Model]


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The models that are open when a batch begins; compared by identity.

    Attributes:
        champion: serves where the configuration names no other model that is open.
        challenger: is only listened to.
        named: every model that is open, under its version and under what it is called.
    """

    champion: Model | None = None
    challenger: Model | None = None
    named: Mapping[str, Model] = field(default_factory=dict)

    def called(self, name: str) -> Model | None:
        """Return the model that a configuration means by a name, if it is open."""
        if name == "champion":  # whose place a pinned one may have taken
            return self.named.get("unpinned") or self.named.get("champion")
        return self.named.get(name)

    def for_config(self, config: RolloutConfig) -> Serving:
        """Return who does what under a configuration.

        It is followed at once if the models it names are open, however old this is.
        """
        champion = self.called(config.model or "champion") or self.champion
        challenger = None if self.challenger is champion else self.challenger
        arms = {name: model for name in arm_models(config) if (model := self.called(name))}
        return Serving(champion, challenger, arms)


def arm_models(config: RolloutConfig) -> list[str]:
    """Return the versions and aliases that arms name, in their order."""
    return [arm.model for arm in config.arms or () if arm.model is not None]


def are_asked(models: Models, config: RolloutConfig) -> bool:
    """Whether there is a model that decisions ask, which takes embeddings."""
    return config.enable_neural and any(models.for_config(config))


class LiveModels:
    """Keeps the models at hand that are to serve.

    A folder that is refused, or a registry that cannot be read, leaves the champion in place; a
    model that an arm names is missing until it is open.

    Attributes:
        current: the models now.
    """

    def __init__(
        self,
        find: Callable[[str | None, Iterable[str]], dict[str, Path]],
        open_model: Callable[[Path], Model],
        config: Callable[[], RolloutConfig],
    ) -> None:
        """Look at nothing yet.

        Args:
            find: folders by what they serve as, given the pinned version and those of arms; or
                raises `CortexError`.
            open_model: verifies and loads a folder, or raises `CortexError`.
            config: the live configuration; while it switches models off, none is opened.
        """
        self.current = Models()
        self._find = find
        self._open_model = open_model
        self._config = config
        self._opened: dict[Place, Future[Model]] = {}
        self._refused: dict[str, str] = {}
        self._unread = Complaint("keeping the models there are", "models can be found again")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="live-models", daemon=True)

    def start(self) -> None:
        """Open the models that decide, then follow."""
        self.open_deciding()
        self._thread.start()

    def open_deciding(self) -> Models:
        """Open the champion and the models of arms, and wait for them.

        Those are absent that there are not, or that are refused.
        """
        places = self._look()
        for role in ("champion", *arm_models(self._config())):
            if place := places.get(role):
                wait(self._opened.values())
                self._open_one_of([place])
                wait([self._opened[place]])
        self._serve(places)
        return self.current

    def stop(self) -> None:
        """Stop following; waits a little for a model that is being opened."""
        self._stopping.set()
        self._thread.join(_PATIENCE)
        wait(self._opened.values(), _PATIENCE)

    def report(self) -> dict[str, object]:
        """Return the versions that serve, and why others do not."""
        return {**_versions(self.current), "refused": self._refused}

    def _follow(self) -> None:
        while not self._stopping.wait(_EVERY):
            self._look()

    def _look(self) -> dict[str, Place]:
        """Bring models and folders together as far as that goes at once; returns the folders."""
        config = self._config()
        if not config.enable_neural:
            return {}
        arms = arm_models(config)
        try:
            folders = self._find(config.model, arms)
            places = {role: _place(folder) for role, folder in folders.items()}
        except (CortexError, OSError) as error:
            self._unread.happened(error=str(error))
            self._refused = {"all": str(error)}
            return {}
        self._unread.did_not_happen()
        self._forget_all_but({*places.values()})
        deciding = [places[role] for role in ("champion", *arms) if role in places]
        self._open_one_of([*deciding, *places.values()])
        self._refused = {name: "there is no such model" for name in arms if name not in places} | {
            role: why for role, place in places.items() if (why := self._why(place))
        }
        self._serve(places)
        return places

    def _serve(self, places: Mapping[str, Place]) -> None:
        """Put in place what is open."""
        opened = {role: model for role, place in places.items() if (model := self._model(place))}
        named = opened | {model.version: model for model in opened.values()}
        champion = opened.get("champion") or self.current.champion
        challenger = opened.get("challenger")
        if challenger is champion:
            challenger = None
        now = self.current
        if (champion, challenger, named) != (now.champion, now.challenger, now.named):
            self.current = Models(champion, challenger, named)
            log.info("models", **_versions(self.current))

    def _forget_all_but(self, wanted: set[Place]) -> None:
        serving = self.current.champion
        self._opened = {
            place: future
            for place, future in self._opened.items()
            if place in wanted or not future.done() or self._model(place) is serving
        }

    def _open_one_of(self, places: list[Place]) -> None:
        """Open what is not, in that order and one at a time, so that it leaves a core to others."""
        if all(future.done() for future in self._opened.values()):
            for place in places:
                if place not in self._opened:
                    future: Future[Model] = Future()
                    self._opened[place] = future
                    work = partial(self._open, place[0], future)
                    threading.Thread(target=work, name="open-model", daemon=True).start()
                    return

    def _open(self, folder: Path, future: Future[Model]) -> None:
        try:
            model = self._open_model(folder)
        except CortexError as error:
            log.warning("model refused", folder=str(folder), error=str(error))
            future.set_exception(error)
        except Exception as error:  # whatever it is, the old model serves
            log.exception("model refused", folder=str(folder))
            future.set_exception(error)
        else:
            future.set_result(model)

    def _why(self, place: Place) -> str | None:
        """Return why what is in a place was refused, if it was."""
        future = self._opened.get(place)
        if future is None or not future.done() or (error := future.exception()) is None:
            return None
        return str(error) or repr(error)

    def _model(self, place: Place | None) -> Model | None:
        """Return the model of a place, if it is open."""
        future = self._opened.get(place) if place else None
        if future is None or not future.done() or future.exception() is not None:
            return None
        return future.result()


def _versions(models: Models) -> dict[str, object]:
    return {
        "champion": None if models.champion is None else models.champion.version,
        "challenger": None if models.challenger is None else models.challenger.version,
        "open": sorted({model.version for model in models.named.values()}),
    }


def _place(folder: Path) -> Place:
    files = sorted(folder.rglob("*"))
    stats = [(str(path), path.stat(follow_symlinks=False)) for path in files]
    return folder, tuple([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
