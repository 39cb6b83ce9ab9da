"""Puts assignment, rules and model together: who gets each task of a batch, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from contracts.messages import Group, Method, Shadow
from router.assignment import buckets, group

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from contracts.messages import RolloutConfig
    from router.masters import Masters
    from router.model import Model, Prediction
    from router.rules import Rules, RuleScore

FallbackReason = Literal[
    "neural_disabled", "model_unavailable", "embedding_unavailable", "model_error", "abstained"
]

_SUM_TOLERANCE = 1e-3  # probabilities computed in float32 sum to 1 within far less


class Routing(Struct, frozen=True, gc=False):
    """The routing half of a decision; fields are those of `contracts.messages.Decision`.

    Attributes:
        fallback_reason: why a task in treatment was routed by rules; None if it was not.
        propensity: probability with which the policy chose `selected_master`.
        shadow: the opinion of the router that was not followed; None if it has none.
        model_version: the model that was asked; None if none was.
    """

    selected_master: str
    method: Method
    confidence: float
    ab_test_group: Group
    bucket: int
    experiment: str
    fallback_reason: FallbackReason | None
    scores: dict[str, float]
    propensity: float
    shadow: Shadow | None
    rules_version: str
    model_version: str | None


class _Opinion(Struct, frozen=True, gc=False):
    """What asking the model about one task came to: scores, or why there are none."""

    scores: dict[str, float]
    silence: FallbackReason | None = None


def _ignore(_error: Exception) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Policy:
    """Decides whole batches. Whatever the model does, every task is routed.

    Attributes:
        on_model_error: told of an exception the model raised, after which rules decide the batch.
    """

    masters: Masters
    rules: Rules
    model: Model | None
    config: RolloutConfig
    on_model_error: Callable[[Exception], None] = _ignore

    def route(
        self,
        task_ids: Sequence[str],
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32] | None,
    ) -> list[Routing]:
        """Route a batch.

        Args:
            task_ids: n ids; they alone decide who is in treatment.
            descriptions: n texts.
            embeddings: shape (n, dim), float32, or None if they could not be computed.

        Returns:
            n routings, in the order of the tasks.
        """
        assigned = buckets(self.config.experiment, task_ids).tolist()
        scored = map(self.rules.score, descriptions)
        silence = self._silence(embeddings)
        if silence is not None or self.model is None or embeddings is None:
            nothing = _Opinion({}, silence)
            return [
                self._decide(bucket, rules, nothing, None)
                for bucket, rules in zip(assigned, scored, strict=True)
            ]
        opinions = self._ask(self.model, descriptions, embeddings)
        version = self.model.version
        return [
            self._decide(bucket, rules, opinion, version)
            for bucket, rules, opinion in zip(assigned, scored, opinions, strict=True)
        ]

    def _silence(self, embeddings: NDArray[np.float32] | None) -> FallbackReason | None:
        """Return why the model cannot be asked at all, if so."""
        if not self.config.enable_neural:
            return "neural_disabled"
        if self.model is None:
            return "model_unavailable"
        if embeddings is None:
            return "embedding_unavailable"
        return None

    def _ask(
        self, model: Model, descriptions: Sequence[str], embeddings: NDArray[np.float32]
    ) -> list[_Opinion]:
        try:
            predictions = model.predict(descriptions, embeddings)
        except Exception as error:  # noqa: BLE001 - no failure of a model may fail a task
            self.on_model_error(error)
            predictions = []
        if len(predictions) != len(descriptions):
            return [_Opinion({}, "model_error")] * len(descriptions)
        names = frozenset(self.masters.names)
        return [_opinion(prediction, names) for prediction in predictions]

    def _decide(
        self, bucket: int, rules: RuleScore, opinion: _Opinion, model_version: str | None
    ) -> Routing:
        arm = group(bucket, self.config.percentage)
        if arm == "treatment" and opinion.silence is None:
            best = _top(opinion.scores)
            return Routing(
                best.selected_master,
                "neural",
                best.confidence,
                arm,
                bucket,
                self.config.experiment,
                None,
                opinion.scores,
                1.0,
                Shadow(selected_master=rules.selected, confidence=rules.confidence),
                self.rules.version,
                model_version,
            )
        return Routing(
            rules.selected,
            "rule-based",
            rules.confidence,
            arm,
            bucket,
            self.config.experiment,
            opinion.silence if arm == "treatment" else None,
            rules.scores,
            1.0,
            None if opinion.silence is not None else _top(opinion.scores),
            self.rules.version,
            model_version,
        )


def _opinion(prediction: Prediction, names: frozenset[str]) -> _Opinion:
    if prediction.abstained:
        return _Opinion({}, "abstained")
    scores = prediction.scores
    probabilities = [*scores.values()]
    sound = (
        scores.keys() <= names
        and all(0.0 <= p <= 1.0 for p in probabilities)  # NaN is in no range
        and math.isclose(sum(probabilities), 1.0, abs_tol=_SUM_TOLERANCE)
    )
    return _Opinion(scores) if sound else _Opinion({}, "model_error")


def _top(scores: dict[str, float]) -> Shadow:
    selected = max(scores, key=scores.__getitem__)
    return Shadow(selected_master=selected, confidence=scores[selected])
