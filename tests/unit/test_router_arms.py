"""Several arms and models of their own, forced groups and who is left out: through the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec import UNSET, Raw

from contracts.messages import Arm, RolloutConfig, Shadow
from router.masters import Masters
from router.model import Prediction
from router.policy import Policy
from router.rules import Rules, RuleScore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from router.policy import Routing

MASTERS = Masters.parse(
    'fallback = "c"\n'
    + "".join(f'[[master]]\nname = "{name}"\ndescription = "x"\n' for name in "abc")
)
RULES = Rules.parse(
    'temperature = 1.0\n[[rule]]\nmaster = "a"\nweight = 2\nwords = ["test"]\n', MASTERS
)
IDS = [f"t-{number}" for number in range(200)]
TEXTS = [f"test {number}" for number in range(len(IDS))]
EMBEDDINGS = np.arange(len(IDS), dtype=np.float32)[:, None]

OWN, SECOND = Arm(name="own", buckets=(0, 3_000)), Arm(name="b", buckets=(3_000, 5_000), model="v2")
CONFIG = RolloutConfig(arms=(OWN, SECOND))


class Always:
    """A model that gives everything to one master, and remembers what it was asked."""

    def __init__(self, version: str, favourite: str | Exception) -> None:
        self.version = version
        self.favourite = favourite
        self.asked: list[str] = []

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        # Each text comes with its own embedding and opinion of the rules.
        assert [f"test {int(row[0])}" for row in embeddings] == [*descriptions]
        assert [*rules] == [RULES.score(text) for text in descriptions]
        self.asked += descriptions
        if isinstance(self.favourite, Exception):
            raise self.favourite
        return [Prediction({self.favourite: 1.0})] * len(descriptions)


def by_arm(routings: list[Routing]) -> dict[object, list[Routing]]:
    found: dict[object, list[Routing]] = {}
    for routing in routings:
        found.setdefault(routing.arm, []).append(routing)
    return found


def route(
    champion: Always | None, arms: Mapping[str, Always], config: RolloutConfig = CONFIG
) -> dict[object, list[Routing]]:
    policy = Policy(MASTERS, RULES, champion, config, arms=arms)
    return by_arm(policy.route(IDS, TEXTS, EMBEDDINGS))


def test_each_arm_is_decided_by_its_model() -> None:
    found = route(Always("v1", "b"), {"v2": Always("v2", "c")})
    assert found.keys() == {UNSET, "own", "b"}
    for routing in found["own"]:
        assert routing.bucket < 3_000
        assert (routing.selected_master, routing.model_version) == ("b", "v1")
        assert (routing.method, routing.ab_test_group) == ("neural", "treatment")
    for routing in found["b"]:
        assert 3_000 <= routing.bucket < 5_000
        assert (routing.selected_master, routing.model_version) == ("c", "v2")
        assert (routing.method, routing.ab_test_group) == ("neural", "treatment")
        assert routing.shadow is not None
        assert routing.shadow.model_version is UNSET
    for routing in found[UNSET]:
        assert routing.bucket >= 5_000
        assert (routing.method, routing.ab_test_group) == ("rule-based", "control")
        assert routing.shadow == Shadow(selected_master="b", confidence=1.0, model_version="v1")


def test_each_text_is_put_to_one_model_once() -> None:
    champion, other = Always("v1", "b"), Always("v2", "c")
    route(champion, {"v2": other})
    assert sorted(champion.asked + other.asked) == sorted(TEXTS)
    assert 20 < len(other.asked) < 70


@pytest.mark.parametrize(
    ("arms", "reason", "version"),
    [
        ({}, "model_unavailable", None),
        ({"v2": Always("v2", ValueError("weights"))}, "model_error", "v2"),
        ({"v2": Always("v2", "stranger")}, "model_error", "v2"),
    ],
)
def test_trouble_with_a_model_stays_in_its_arm(
    arms: dict[str, Always], reason: str, version: str | None
) -> None:
    found = route(Always("v1", "b"), arms)
    for routing in found["b"]:
        assert (routing.method, routing.fallback_reason) == ("rule-based", reason)
        assert routing.ab_test_group == "treatment"
        assert routing.model_version == version
        assert routing.shadow is None
    assert {(each.method, each.fallback_reason) for each in found["own"]} == {("neural", None)}
    assert {each.fallback_reason for each in found[UNSET]} == {None}


def test_an_arm_does_not_depend_on_the_champion() -> None:
    found = route(None, {"v2": Always("v2", "c")})
    assert {each.method for each in found["b"]} == {"neural"}
    assert {each.fallback_reason for each in found["own"]} == {"model_unavailable"}


def test_with_models_disabled_no_arm_asks_its_own() -> None:
    other = Always("v2", "c")
    found = route(
        Always("v1", "b"), {"v2": other}, RolloutConfig(arms=(OWN, SECOND), enable_neural=False)
    )
    assert {each.fallback_reason for each in found["b"] + found["own"]} == {"neural_disabled"}
    assert other.asked == []


def test_who_is_left_out_is_in_control_and_says_so() -> None:
    config = RolloutConfig(percentage=0.5, coverage=0.4)
    routings = Policy(MASTERS, RULES, Always("v1", "b"), config).route(IDS, TEXTS, EMBEDDINGS)
    excluded = [each for each in routings if each.assignment == "excluded"]
    assert 90 < len(excluded) < 150
    assert {(each.ab_test_group, each.method) for each in excluded} == {("control", "rule-based")}
    assert {each.assignment for each in routings} == {UNSET, "excluded"}
    assert {each.ab_test_group for each in routings} == {"control", "treatment"}


def test_what_metadata_says_is_in_the_routing() -> None:
    config = RolloutConfig(attribute="metadata.repo", force=True)
    metadata = [Raw(b'{"repo":"r"}'), Raw(b'{"force_group":"treatment"}'), None]
    policy = Policy(MASTERS, RULES, Always("v1", "b"), config)
    routings = policy.route(IDS[:3], TEXTS[:3], EMBEDDINGS[:3], metadata)
    assert [each.unit for each in routings] == ["r", UNSET, UNSET]
    assert [each.assignment for each in routings] == [UNSET, "forced", UNSET]
    assert [each.method for each in routings] == ["rule-based", "neural", "rule-based"]


def test_metadata_is_one_for_each_task() -> None:
    policy = Policy(MASTERS, RULES, None, RolloutConfig(attribute="metadata.repo"))
    with pytest.raises(ValueError, match="shorter"):
        policy.route(IDS[:2], TEXTS[:2], None, [None])
