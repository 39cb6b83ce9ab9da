"""Puts assignment, rules and model together: who gets each task of a batch, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, Struct, UnsetType

from contracts.messages import Assignment, Group, Method, Shadow
from router.experiment import Experiment
from router.explore import draw, epsilon_greedy, places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from msgspec import Raw
    from numpy.typing import NDArray

    from contracts.messages import RolloutConfig
    from router.experiment import Place
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
        shadow: the challenger's opinion where there is one, else that of the router that was not
            followed; None if it has none.
        model_version: the model of the task's arm, if it was asked; None if none was.
        arm: as in decisions, as are `assignment` and `unit`.
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
    arm: str | UnsetType = UNSET
    assignment: Assignment | UnsetType = UNSET
    unit: str | UnsetType = UNSET


class _Opinion(Struct, frozen=True, gc=False):
    """What asking a model about one task came to: scores, or why there are none.

    Attributes:
        version: of the model that was asked; None if none was.
        chances: how it would have the policy explore; None is evenly.
    """

    scores: dict[str, float]
    silence: FallbackReason | None = None
    version: str | None = None
    chances: dict[str, float] | None = None


_NOBODY = _Opinion({}, "model_unavailable")


def _ignore(_error: Exception) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Policy:
    """Decides whole batches. Whatever a model does, every task is routed.

    Attributes:
        model: the champion, which decides in treatment; None leaves that to the rules.
        challenger: a model that is only listened to, in every arm: its opinion is the shadow.
        on_model_error: told of an exception a model raised, after which it is silent on the batch.
        arms: the models of arms that have their own, under the names that the configuration has for
            them; one that is missing leaves its arms to the rules.
    """

    masters: Masters
    rules: Rules
    model: Model | None
    config: RolloutConfig
    challenger: Model | None = None
    on_model_error: Callable[[Exception], None] = _ignore
    arms: Mapping[str, Model] = field(default_factory=dict)
    _experiment: Experiment = field(init=False, repr=False, compare=False)
    _names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_experiment", Experiment(self.config))
        object.__setattr__(self, "_names", frozenset(self.masters.names))

    def route(
        self,
        task_ids: Sequence[str],
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32] | None,
        metadata: Sequence[Raw | None] = (),
    ) -> list[Routing]:
        """Route a batch.

        Args:
            task_ids: n ids; who is in treatment is a matter of these, unless the configuration
                asks for something in the metadata.
            descriptions: n texts.
            embeddings: shape (n, dim), float32, or None if they could not be computed.
            metadata: n JSON objects, or None where a task has none; empty where no task has any.

        Returns:
            n routings, in the order of the tasks.
        """
        assigned = self._experiment.assign(task_ids, metadata)
        # Where nothing explores any place will do, and a second hash need not be worked out.
        exploring = self.config.exploration
        drawn = places(self.config.experiment, task_ids) if exploring else assigned.buckets
        scored = [*map(self.rules.score, descriptions)]
        followed = self._ask_each(assigned.places, descriptions, embeddings, scored)
        challenger = (
            followed
            if self.challenger is None
            else self._ask(self.challenger, descriptions, embeddings, scored)
        )
        return [
            self._decide(*each)
            for each in zip(drawn, *assigned, scored, followed, challenger, strict=True)
        ]

    def _ask_each(
        self,
        where: Sequence[Place],
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32] | None,
        rules: Sequence[RuleScore],
    ) -> list[_Opinion]:
        """Return of every text the opinion of its arm's model, in control of the champion."""
        if self.config.arms is None:
            return self._ask(self.model, descriptions, embeddings, rules)
        opinions = [_NOBODY] * len(descriptions)
        for name in {place.model for place in where}:
            of = [n for n, place in enumerate(where) if place.model == name]
            answers = self._ask(
                self.model if name is None else self.arms.get(name),
                [descriptions[n] for n in of],
                None if embeddings is None else embeddings[of],
                [rules[n] for n in of],
            )
            for n, answer in zip(of, answers, strict=True):
                opinions[n] = answer
        return opinions

    def _ask(
        self,
        model: Model | None,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32] | None,
        rules: Sequence[RuleScore],
    ) -> list[_Opinion]:
        """Return a model's opinion of every text; silence where it has none."""
        if not self.config.enable_neural:
            return [_Opinion({}, "neural_disabled")] * len(descriptions)
        if model is None:
            return [_NOBODY] * len(descriptions)
        if embeddings is None:
            return [_Opinion({}, "embedding_unavailable")] * len(descriptions)
        try:
            predictions = model.predict(descriptions, embeddings, rules)
        except Exception as error:  # noqa: BLE001 - no failure of a model may fail a task
            self.on_model_error(error)
            predictions = []
        if len(predictions) != len(descriptions):
            return [_Opinion({}, "model_error", model.version)] * len(descriptions)
        return [_opinion(prediction, self._names, model.version) for prediction in predictions]

    def _decide(  # noqa: PLR0913, PLR0917 (a routing is where everything comes together)
        self,
        drawn: int,
        bucket: int,
        place: Place,
        unit: str | UnsetType,
        rules: RuleScore,
        followed: _Opinion,
        challenger: _Opinion,
    ) -> Routing:
        treated = place.group == "treatment"
        if treated and followed.silence is None:
            selected, propensity = self._choose(drawn, followed)
            return Routing(
                selected,
                "neural",
                followed.scores[selected],
                place.group,
                bucket,
                self.config.experiment,
                None,
                followed.scores,
                propensity,
                _of_rules(rules) if self.challenger is None else _shadow(challenger),
                self.rules.version,
                followed.version,
                place.arm,
                place.assignment,
                unit,
            )
        return Routing(
            rules.selected,
            "rule-based",
            rules.confidence,
            place.group,
            bucket,
            self.config.experiment,
            followed.silence if treated else None,
            rules.scores,
            1.0,
            _shadow(challenger),
            self.rules.version,
            followed.version,
            place.arm,
            place.assignment,
            unit,
        )

    def _choose(self, drawn: int, opinion: _Opinion) -> tuple[str, float]:
        """Return a master, the best unless this task is to explore, and its propensity."""
        if not self.config.exploration:
            return _top(opinion.scores), 1.0
        chances = epsilon_greedy(opinion.scores, self.config.exploration, opinion.chances)
        return draw(chances, drawn)


def _opinion(prediction: Prediction, names: frozenset[str], version: str) -> _Opinion:
    if prediction.abstained:
        return _Opinion({}, "abstained", version)
    scores, chances = prediction.scores, prediction.chances
    if not (_sound(scores, names) and (chances is None or _sound(chances, names))):
        return _Opinion({}, "model_error", version)
    return _Opinion(scores, None, version, chances)


def _sound(probabilities: dict[str, float], names: frozenset[str]) -> bool:
    return (
        probabilities.keys() <= names
        and all(0.0 <= p <= 1.0 for p in probabilities.values())  # NaN is in no range
        and math.isclose(sum(probabilities.values()), 1.0, abs_tol=_SUM_TOLERANCE)
    )


def _top(scores: dict[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def _shadow(opinion: _Opinion) -> Shadow | None:
    """Return the opinion of a model that was not followed; None if it has none."""
    if opinion.silence is not None or opinion.version is None:
        return None
    selected = _top(opinion.scores)
    return Shadow(
        selected_master=selected,
        confidence=opinion.scores[selected],
        model_version=opinion.version,
    )


def _of_rules(rules: RuleScore) -> Shadow:
    return Shadow(selected_master=rules.selected, confidence=rules.confidence)
