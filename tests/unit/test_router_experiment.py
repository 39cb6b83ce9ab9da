from __future__ import annotations

import pytest
from msgspec import UNSET, Raw

from contracts.messages import Arm, Namespace, RolloutConfig
from router.assignment import bucket, buckets
from router.attributes import MAX_LENGTH, texts
from router.experiment import Experiment

IDS = [f"t-{number}" for number in range(2_000)]
# One id for each bucket, more or less: which ones do not matter.
MANY = [str(number) for number in range(120_000)]


def raw(text: str) -> Raw:
    return Raw(text.encode())


@pytest.mark.parametrize("hundredths", range(0, 101, 1))
def test_percentage_takes_exactly_its_share_of_the_buckets(hundredths: int) -> None:
    assert Experiment(RolloutConfig(percentage=hundredths / 100)).treated_share == hundredths / 100


def test_treatment_has_the_first_buckets() -> None:
    assigned = Experiment(RolloutConfig(percentage=0.29)).assign(MANY)
    treated = {
        number
        for number, place in zip(assigned.buckets, assigned.places, strict=True)
        if place.group == "treatment"
    }
    assert treated == set(range(2_900))
    assert {place.assignment for place in assigned.places} == {UNSET}
    assert {place.arm for place in assigned.places} == {UNSET}


def test_coverage_takes_the_first_part_of_each_arm() -> None:
    assigned = Experiment(RolloutConfig(percentage=0.25, coverage=0.5)).assign(MANY)
    found = dict(zip(assigned.buckets, assigned.places, strict=True))
    assert {n for n, place in found.items() if place.group == "treatment"} == {*range(1_250)}
    counted = {n for n, place in found.items() if place.assignment is UNSET}
    assert counted == {*range(1_250), *range(2_500, 6_250)}
    assert {found[n].assignment for n in set(found) - counted} == {"excluded"}
    assert {found[n].group for n in set(found) - counted} == {"control"}


def test_nobody_takes_part_without_coverage() -> None:
    experiment = Experiment(RolloutConfig(percentage=0.5, coverage=0.0))
    assert {place.assignment for place in experiment.assign(IDS).places} == {"excluded"}
    assert experiment.treated_share == 0.0


def test_arms_may_lie_anywhere_and_have_models_of_their_own() -> None:
    arms = (
        Arm(name="late", buckets=(9_000, 10_000), model="v2"),
        Arm(name="early", buckets=(500, 1_000)),
    )
    experiment = Experiment(RolloutConfig(arms=arms, percentage=1.0))
    assigned = experiment.assign(MANY)
    for number, place in zip(assigned.buckets, assigned.places, strict=True):
        if number >= 9_000:
            assert (place.group, place.arm, place.model) == ("treatment", "late", "v2")
        elif 500 <= number < 1_000:
            assert (place.group, place.arm, place.model) == ("treatment", "early", None)
        else:
            assert (place.group, place.arm, place.model) == ("control", UNSET, None)
    assert experiment.treated_share == 0.15


def test_the_tasks_of_one_repository_are_in_one_arm() -> None:
    metadata = [raw(f'{{"repo": "r-{number % 50}", "more": [1]}}') for number in range(len(IDS))]
    config = RolloutConfig(percentage=0.5, attribute="metadata.repo")
    assigned = Experiment(config).assign(IDS, metadata)
    groups = [place.group for place in assigned.places]
    assert groups == groups[:50] * (len(IDS) // 50)
    assert set(groups) == {"control", "treatment"}
    assert assigned.units == [f"r-{number % 50}" for number in range(len(IDS))]
    assert assigned.buckets[:3] == buckets("router", ["r-0", "r-1", "r-2"]).tolist()


@pytest.mark.parametrize(
    "document",
    [
        '{"at":{}}',
        '{"at":[1]}',
        '{"at":"repo"}',
        '{"at":{"repo":null}}',
        '{"at":{"repo":true}}',
        '{"at":{"repo":0}}',
        '{"at":{"repo":""}}',
        '{"at":{"repo":["r"]}}',
        '{"at":{"repo":1e999}}',
        '{"at":{"repo":"\\ud800"}}',
        f'{{"at":{{"repo":{"9" * 400}}}}}',
        f'{{"at":{{"repo":"{"r" * (MAX_LENGTH + 1)}"}}}}',
    ],
)
def test_a_task_without_the_attribute_is_in_by_its_id(document: str) -> None:
    config = RolloutConfig(percentage=0.5, attribute="metadata.at.repo")
    assigned = Experiment(config).assign(["t-1", "t-2"], [raw(document), None])
    assert assigned.units == [UNSET, UNSET]
    assert assigned.buckets == [bucket("router", "t-1"), bucket("router", "t-2")]


def test_values_are_found_wherever_they_are() -> None:
    documents = ['{"x":1,"a":{"b-c":{"d":"here"}}}', '{"a":{"b-c":{"d":12.0}}}', "{}"]
    longest = f'{{"a":{{"b-c":{{"d":"{"r" * MAX_LENGTH}"}}}}}}'
    found = texts("a.b-c.d", [*map(raw, documents), raw(longest)])
    assert found == ["here", "12", None, "r" * MAX_LENGTH]


def test_a_namespace_leaves_others_out() -> None:
    config = RolloutConfig(percentage=0.5, namespace=Namespace(id="router", range=(0.0, 0.3)))
    places = Experiment(config).assign(IDS).places
    counted = [place for place in places if place.assignment is UNSET]
    assert 0.25 < len(counted) / len(IDS) < 0.35
    assert {place.group for place in counted} == {"control", "treatment"}
    assert {p.group for p in places if p.assignment == "excluded"} == {"control"}


def test_a_task_may_choose_its_group_only_where_that_is_allowed() -> None:
    wishes = ["control", "treatment", "nonsense", ""]
    metadata = [raw(f'{{"force_group": "{wish}"}}') for wish in wishes]
    ids = ["t-1"] * len(wishes)
    for percentage, own in ((0.0, "control"), (1.0, "treatment")):
        allowed = RolloutConfig(percentage=percentage, force=True)
        places = Experiment(allowed).assign(ids, metadata).places
        assert [place.group for place in places] == ["control", "treatment", own, own]
        assert [place.assignment for place in places] == ["forced", "forced", UNSET, UNSET]
        places = Experiment(RolloutConfig(percentage=percentage)).assign(ids, metadata).places
        assert {(place.group, place.assignment) for place in places} == {(own, UNSET)}


def test_a_task_may_choose_among_arms_even_from_outside() -> None:
    arms = (Arm(name="one", buckets=(0, 10)), Arm(name="two", buckets=(10, 20), model="v2"))
    config = RolloutConfig(arms=arms, force=True, coverage=0.0)
    metadata = [raw(f'{{"force_group": "{wish}"}}') for wish in ("two", "treatment", "control")]
    assigned = Experiment(config).assign(["t-1"] * 3, metadata)
    assert [(p.group, p.arm, p.model) for p in assigned.places] == [
        ("treatment", "two", "v2"),
        ("treatment", "one", None),
        ("control", UNSET, None),
    ]
    assert {place.assignment for place in assigned.places} == {"forced"}
    assert assigned.buckets == [bucket("router", "t-1")] * 3


def test_a_forced_task_may_be_named_by_an_attribute_too() -> None:
    config = RolloutConfig(force=True, attribute="metadata.repo")
    document = raw('{"repo": "r", "force_group": "treatment"}')
    assigned = Experiment(config).assign(["t-1"], [document])
    assert assigned.units == ["r"]
    assert assigned.places[0].assignment == "forced"
