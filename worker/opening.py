"""How a worker opens a model: for its masters and its encoder, and so that it cannot hang it."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import TransientError
from worker.embedding import slices
from worker.guard import Guard
from worker.model_folders import model_folders
from worker.models import LiveModels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from contracts.messages import RolloutConfig
    from router.masters import Masters
    from router.model import Model, Prediction
    from router.rules import Rules, RuleScore
    from worker.embedding import Embedder
    from worker.settings import Settings


class GuardedModel:
    """A model with an encoder of its own: where that hangs or fails, so does `predict`, in time."""

    def __init__(self, model: Model, probe: Callable[[], object]) -> None:
        """Guard a model.

        Args:
            model: whose calls are guarded.
            probe: a call of it that is answered only where it works.
        """
        self.version = model.version
        self._model = model
        self._guard = Guard(f"model {model.version}", probe)
        weakref.finalize(self, self._guard.close)

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        """Score a batch; see `router.model.Model`.

        Raises:
            TransientError: the model failed or does not answer; why is in the log.
        """
        predictions: list[Prediction] = []
        for part in slices(len(descriptions)):
            work = partial(self._model.predict, descriptions[part], embeddings[part], rules[part])
            answer = self._guard.call(work)
            if answer is None:
                raise TransientError(f"model {self.version} gives no answer")
            predictions += answer
        return predictions


def live_models(
    settings: Settings,
    masters: Masters,
    rules: Rules,
    embedder: Embedder,
    config: Callable[[], RolloutConfig],
) -> LiveModels:
    """Return the models of a worker, not looked at yet.

    Args:
        settings: where models are, and the encoder that they are given embeddings of.
        masters: whom a model may name.
        rules: what models are told of.
        embedder: opened with the first model that is.
        config: the live configuration.
    """

    def open_one(folder: Path) -> Model:
        from registry.opening import open_model, with_bandit  # noqa: PLC0415 - only where there are models

        encoder = embedder.open()  # here, so that no batch waits for it
        identity = None if encoder is None else encoder.identity
        model = open_model(folder, masters=masters.names, embedder=identity)
        explored = with_bandit(folder, model)
        if not model.config.own_encoder:
            return explored
        one = np.eye(1, model.config.dim, dtype=np.float32)
        asked = "are you there"
        return GuardedModel(explored, partial(model.predict, [asked], one, [rules.score(asked)]))

    return LiveModels(model_folders(settings).find, open_one, config)
