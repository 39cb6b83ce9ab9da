from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from contracts.messages import RolloutConfig
from router.assignment import BUCKETS, buckets
from router.explore import MAX_EXPLORATION, PLAUSIBLE, draw, epsilon_greedy, places
from router.masters import Masters
from router.model import Prediction
from router.policy import Policy
from router.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from router.rules import RuleScore

IDS = [f"task-{number}" for number in range(20_000)]
MASTERS = Masters.parse(
    'fallback = "c"\n'
    + "".join(f'[[master]]\nname = "{name}"\ndescription = "x"\n' for name in "abcd")
)
RULES = Rules.parse(
    'temperature = 1.0\n[[rule]]\nmaster = "a"\nweight = 2\nwords = ["test"]\n', MASTERS
)
SCORES = {"a": 0.1, "b": 0.6, "c": 0.02, "d": 0.28}

weights = st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda some: sum(some) > 0.01)
distributions = weights.map(
    lambda some: {f"m{place}": weight / sum(some) for place, weight in enumerate(some)}
)


class Always:
    version = "m1"

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        assert len(embeddings) == len(rules) == len(descriptions)
        return [self.prediction] * len(descriptions)


def route(prediction: Prediction, **config: float) -> list[tuple[str, float, str]]:
    policy = Policy(MASTERS, RULES, Always(prediction), msgspec.convert(config, RolloutConfig))
    routings = policy.route(IDS, ["test"] * len(IDS), np.zeros((len(IDS), 2), np.float32))
    return [(each.selected_master, each.propensity, each.ab_test_group) for each in routings]


@given(scores=distributions, exploration=st.floats(0, 1))
def test_only_the_plausible_get_a_chance_and_the_best_keeps_most(
    scores: dict[str, float], exploration: float
) -> None:
    chances = epsilon_greedy(scores, exploration)
    best = max(scores, key=scores.__getitem__)
    assert sum(chances.values()) == pytest.approx(1.0)
    assert chances[best] >= 1.0 - MAX_EXPLORATION
    assert all(name == best or scores[name] >= PLAUSIBLE for name in chances)
    others = {chance for name, chance in chances.items() if name != best}
    assert len({round(chance, 12) for chance in others}) <= 1


@given(chances=distributions)
@settings(max_examples=20)
def test_a_propensity_is_the_share_of_places_that_lead_there(chances: dict[str, float]) -> None:
    drawn = Counter(draw(chances, place) for place in range(BUCKETS))
    assert sum(drawn.values()) == BUCKETS
    for (name, propensity), count in drawn.items():
        assert propensity == count / BUCKETS
        assert propensity == pytest.approx(chances[name], abs=1 / BUCKETS)
    assert len({name for name, _ in drawn}) == len(drawn)


def test_a_task_draws_the_same_in_any_batch() -> None:
    alone = [place for each in IDS[:50] for place in places("router", [each])]
    assert alone == places("router", IDS[:50])
    assert alone != places("other", IDS[:50])


def test_chances_that_do_not_sum_to_one_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="sum to"):
        draw(dict.fromkeys("ab", 0.1), BUCKETS - 1)


def test_nothing_is_explored_by_default() -> None:
    assert set(route(Prediction(SCORES), percentage=1.0)) == {("b", 1.0, "treatment")}


def test_ids_are_drawn_as_often_as_the_propensities_say() -> None:
    routed = route(Prediction(SCORES), percentage=1.0, exploration=0.09)
    counts = Counter(name for name, _, _ in routed)
    propensities = {name: propensity for name, propensity, _ in routed}
    assert propensities == {"a": 0.03, "b": 0.94, "d": 0.03}  # c is not plausible
    expected = [propensities[name] * len(IDS) for name in counts]
    assert stats.chisquare([*counts.values()], expected).pvalue > 0.01


def test_only_treatment_explores_and_a_draw_does_not_depend_on_the_assignment() -> None:
    routed = route(Prediction(SCORES), percentage=0.3, exploration=0.1)
    assert {name for name, _, arm in routed if arm == "control"} == {"a"}
    assert {propensity for _, propensity, arm in routed if arm == "control"} == {1.0}
    arms = buckets("router", IDS) * 8 // BUCKETS
    draws = buckets("router/explore", IDS) * 8 // BUCKETS
    table = stats.contingency.crosstab(arms, draws).count
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_the_cap_holds_whatever_is_configured() -> None:
    routed = route(Prediction(SCORES), percentage=1.0, exploration=1.0)
    assert dict(each[:2] for each in routed)["b"] == pytest.approx(1 - 0.2 / 3, abs=1e-4)


def test_a_model_may_say_where_to_explore() -> None:
    wish = Prediction(SCORES, chances={"d": 0.75, "b": 0.25})
    routed = route(wish, percentage=1.0, exploration=0.1)
    assert {each[:2] for each in routed} == {("b", 0.925), ("d", 0.075)}


def test_rules_that_stand_in_for_a_model_do_not_explore() -> None:
    routed = route(Prediction(SCORES, abstained=True), percentage=1.0, exploration=0.1)
    assert set(routed) == {("a", 1.0, "treatment")}


@pytest.mark.parametrize("chances", [{"b": float("nan")}, {"stranger": 1.0}, {"b": 2.0, "a": -1.0}])
def test_a_broken_wish_is_an_error_of_the_model(chances: dict[str, float]) -> None:
    routed = route(Prediction(SCORES, chances=chances), percentage=1.0, exploration=0.1)
    assert set(routed) == {("a", 1.0, "treatment")}
