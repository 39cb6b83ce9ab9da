from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from contracts.messages import RolloutConfig, Shadow
from router.assignment import bucket
from router.masters import Masters
from router.model import Prediction
from router.policy import Policy
from router.rules import Rules, RuleScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MASTERS = Masters.parse(
    'fallback = "c"\n'
    + "".join(f'[[master]]\nname = "{name}"\ndescription = "x"\n' for name in "abc")
)
RULES = Rules.parse(
    'temperature = 1.0\n[[rule]]\nmaster = "a"\nweight = 2\nwords = ["test"]\n', MASTERS
)
IDS = [f"t-{number}" for number in range(40)]
TEXTS = ["test"] * len(IDS)
EMBEDDINGS = np.zeros((len(IDS), 4), np.float32)
CONFIDENT = Prediction({"a": 0.1, "b": 0.9})
RULES_OPINION = Shadow(selected_master="a", confidence=RULES.score("test").confidence)


class Fixed:
    """A model that answers every text alike, or with an exception."""

    def __init__(
        self, answer: Prediction | Exception, missing: int = 0, version: str = "m1"
    ) -> None:
        self.answer = answer
        self.missing = missing
        self.version = version
        self.calls = 0

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        assert len(embeddings) == len(descriptions)
        assert [*rules] == [RULES.score(text) for text in descriptions]
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer] * (len(descriptions) - self.missing)


def policy(model: Fixed | None, challenger: Fixed | None = None, **config: str | float) -> Policy:
    return Policy(MASTERS, RULES, model, msgspec.convert(config, RolloutConfig), challenger)


def test_control_is_routed_by_rules_and_shadowed_by_the_model() -> None:
    routings = policy(Fixed(CONFIDENT), percentage=0.0).route(IDS, TEXTS, EMBEDDINGS)
    assert [routing.bucket for routing in routings] == [bucket("router", unit) for unit in IDS]
    for routing in routings:
        assert routing.selected_master == "a"
        assert routing.method == "rule-based"
        assert routing.ab_test_group == "control"
        assert routing.confidence == routing.scores["a"] == RULES_OPINION.confidence
        assert routing.fallback_reason is None
        assert routing.shadow == Shadow(selected_master="b", confidence=0.9, model_version="m1")
        assert routing.propensity == 1.0
        assert routing.experiment == "router"
        assert routing.rules_version == RULES.version
        assert routing.model_version == "m1"


def test_treatment_is_routed_by_the_model_and_shadowed_by_rules() -> None:
    routings = policy(Fixed(CONFIDENT), percentage=1.0).route(IDS, TEXTS, EMBEDDINGS)
    for routing in routings:
        assert routing.selected_master == "b"
        assert routing.method == "neural"
        assert routing.ab_test_group == "treatment"
        assert routing.confidence == 0.9
        assert routing.scores == {"a": 0.1, "b": 0.9}
        assert routing.fallback_reason is None
        assert routing.shadow == RULES_OPINION


def test_a_split_batch_follows_the_buckets() -> None:
    routings = policy(Fixed(CONFIDENT), percentage=0.5).route(IDS, TEXTS, EMBEDDINGS)
    for routing in routings:
        treated = routing.bucket < 5000
        assert (routing.ab_test_group == "treatment") is treated
        assert (routing.method == "neural") is treated
    assert {routing.method for routing in routings} == {"neural", "rule-based"}


def test_the_experiment_is_the_seed() -> None:
    routings = policy(None, experiment="other").route(IDS, TEXTS, None)
    assert [routing.bucket for routing in routings] == [bucket("other", unit) for unit in IDS]
    assert routings[0].experiment == "other"


@pytest.mark.parametrize(
    ("model", "enabled", "embeddings", "reason"),
    [
        (Fixed(CONFIDENT), False, EMBEDDINGS, "neural_disabled"),
        (None, True, EMBEDDINGS, "model_unavailable"),
        (Fixed(CONFIDENT), True, None, "embedding_unavailable"),
        (None, False, None, "neural_disabled"),
        (Fixed(Prediction({"a": 1.0}, abstained=True)), True, EMBEDDINGS, "abstained"),
        (Fixed(ValueError("weights")), True, EMBEDDINGS, "model_error"),
        (Fixed(CONFIDENT, missing=1), True, EMBEDDINGS, "model_error"),
        (Fixed(Prediction({"a": float("nan"), "b": 1.0})), True, EMBEDDINGS, "model_error"),
        (Fixed(Prediction({"a": float("inf")})), True, EMBEDDINGS, "model_error"),
        (Fixed(Prediction({"a": 0.5, "b": 0.1})), True, EMBEDDINGS, "model_error"),
        (Fixed(Prediction({"a": 1.5, "b": -0.5})), True, EMBEDDINGS, "model_error"),
        (Fixed(Prediction({"a": 0.5, "stranger": 0.5})), True, EMBEDDINGS, "model_error"),
        (Fixed(Prediction({})), True, EMBEDDINGS, "model_error"),
    ],
)
def test_without_an_opinion_of_the_model_rules_decide_and_say_why(
    *, model: Fixed | None, enabled: bool, embeddings: NDArray[np.float32] | None, reason: str
) -> None:
    for percentage, expected in ((1.0, reason), (0.0, None)):
        chosen = policy(model, percentage=percentage, enable_neural=enabled)
        routings = chosen.route(IDS, TEXTS, embeddings)
        assert len(routings) == len(IDS)
        for routing in routings:
            assert routing.selected_master == "a"
            assert routing.method == "rule-based"
            assert routing.fallback_reason == expected
            assert routing.shadow is None


def test_a_disabled_model_is_not_asked() -> None:
    model = Fixed(CONFIDENT)
    policy(model, percentage=1.0, enable_neural=False).route(IDS, TEXTS, EMBEDDINGS)
    assert model.calls == 0


def test_a_model_is_asked_once_a_batch() -> None:
    model = Fixed(CONFIDENT)
    policy(model, percentage=0.5).route(IDS, TEXTS, EMBEDDINGS)
    assert model.calls == 1


def test_an_exception_of_the_model_is_reported() -> None:
    told: list[Exception] = []
    broken = ValueError("weights")
    chosen = Policy(MASTERS, RULES, Fixed(broken), RolloutConfig(), None, told.append)
    chosen.route(IDS, TEXTS, EMBEDDINGS)
    assert told == [broken]


@pytest.mark.parametrize("champion", [Fixed(CONFIDENT), None, Fixed(ValueError("weights"))])
@pytest.mark.parametrize("percentage", [0.0, 0.5, 1.0])
def test_a_challenger_is_the_shadow_in_both_arms_and_changes_nothing_else(
    champion: Fixed | None, percentage: float
) -> None:
    challenger = Fixed(Prediction({"b": 0.2, "c": 0.8}), version="m2")
    alone = policy(champion, percentage=percentage).route(IDS, TEXTS, EMBEDDINGS)
    challenged = policy(champion, challenger, percentage=percentage)
    routings = challenged.route(IDS, TEXTS, EMBEDDINGS)
    expected = Shadow(selected_master="c", confidence=0.8, model_version="m2")
    assert [routing.shadow for routing in routings] == [expected] * len(IDS)
    assert [msgspec.structs.replace(routing, shadow=None) for routing in routings] == [
        msgspec.structs.replace(routing, shadow=None) for routing in alone
    ]


@pytest.mark.parametrize(
    "answer",
    [
        ValueError("weights"),
        Prediction({"b": 1.0}, abstained=True),
        Prediction({"b": float("nan")}),
        Prediction({"stranger": 1.0}),
    ],
)
@pytest.mark.parametrize("percentage", [0.0, 1.0])
def test_a_challenger_without_an_opinion_touches_nothing(
    answer: Prediction | Exception, percentage: float
) -> None:
    alone = policy(Fixed(CONFIDENT), percentage=percentage).route(IDS, TEXTS, EMBEDDINGS)
    challenged = policy(Fixed(CONFIDENT), Fixed(answer, version="m2"), percentage=percentage)
    assert challenged.route(IDS, TEXTS, EMBEDDINGS) == [
        msgspec.structs.replace(routing, shadow=None) for routing in alone
    ]


def test_with_models_disabled_the_challenger_is_not_asked() -> None:
    challenger = Fixed(CONFIDENT, version="m2")
    chosen = policy(Fixed(CONFIDENT), challenger, enable_neural=False)
    assert chosen.route(IDS, TEXTS, EMBEDDINGS)[0].shadow is None
    assert challenger.calls == 0


def test_an_empty_batch() -> None:
    assert policy(Fixed(CONFIDENT)).route([], [], EMBEDDINGS[:0]) == []


def test_ids_without_texts_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="shorter"):
        policy(None).route(["t-1", "t-2"], ["test"], None)
