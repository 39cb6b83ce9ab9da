"""The models a worker runs, changed under it while it works.

A model is opened on a thread of its own and put in place when it is ready; a batch asks once which
models there are and so sees no change. Every model that an alias names is kept open: whatever
happens among those, a rollback above all, takes effect with the next look.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from contracts.errors import CortexError
from telemetry.complaint import Complaint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from contracts.messages import RolloutConfig
    from router.model import Model

    # A folder and what stat(2) says of its files: once that changes, it is another model.
    Place = tuple[Path, tuple[tuple[str, int, int], ...]]

log = structlog.get_logger()

_EVERY = 0.3  # seconds; workers promise to follow a change within one
_PATIENCE = 2.0  # seconds; to end amid native code is no clean end


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """What one batch is decided with; compared by identity."""

    champion: Model | None = None
    challenger: Model | None = None


def are_asked(models: Models, config: RolloutConfig) -> bool:
    """Whether there is a model that decisions ask, which takes embeddings."""
    return config.enable_neural and (models.champion or models.challenger) is not None


class LiveModels:
    """Keeps the models at hand that are to serve.

    A folder that is refused, or a registry that cannot be read, leaves the champion in place.

    Attributes:
        current: the models now.
    """

    def __init__(
        self,
        find: Callable[[str | None], dict[str, Path]],
        open_model: Callable[[Path], Model],
        config: Callable[[], RolloutConfig],
    ) -> None:
        """Look at nothing yet.

        Args:
            find: folders by what they serve as, given the pinned version; or raises `CortexError`.
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
        """Open the champion, then follow."""
        self.open_champion()
        self._thread.start()

    def open_champion(self) -> Models:
        """Open the champion and wait for it; it is absent where there is none, or it is refused."""
        places = self._look()
        if champion := places.get("champion"):
            wait([self._opened[champion]])
            self._put(self._model(champion), None)
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
        try:
            places = {role: _place(folder) for role, folder in self._find(config.model).items()}
        except (CortexError, OSError) as error:
            self._unread.happened(error=str(error))
            self._refused = {"all": str(error)}
            return {}
        self._unread.did_not_happen()
        self._forget_all_but({*places.values()})
        self._open_one_of([*places.values()])
        self._refused = {role: why for role, place in places.items() if (why := self._why(place))}
        champion = self._model(places.get("champion")) or self.current.champion
        challenger = self._model(places.get("challenger"))
        self._put(champion, None if challenger is champion else challenger)
        return places

    def _put(self, champion: Model | None, challenger: Model | None) -> None:
        if (champion, challenger) != (self.current.champion, self.current.challenger):
            self.current = Models(champion, challenger)
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


def _versions(models: Models) -> dict[str, str | None]:
    return {
        "champion": None if models.champion is None else models.champion.version,
        "challenger": None if models.challenger is None else models.challenger.version,
    }


def _place(folder: Path) -> Place:
    files = sorted(folder.rglob("*"))
    stats = [(str(path), path.stat(follow_symlinks=False)) for path in files]
    return folder, tuple([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
