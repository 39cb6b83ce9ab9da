from __future__ import annotations

import msgspec
from growthbook import Experiment as GrowthBookExperiment
from growthbook import GrowthBook
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from contracts.messages import Arm, Namespace, RolloutConfig
from router.assignment import buckets
from router.experiment import Assigned, Experiment

IDS = [f"t-{number}" for number in range(3_000)]

shares = st.floats(0, 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.one_of(texts, st.integers(-(10**20), 10**20), st.floats(-1e30, 1e30))
edges = st.lists(st.integers(0, 10_000), min_size=2, max_size=10).map(sorted)


def assign(ids: list[str], metadata: list[Raw | None] | None = None, **config: object) -> Assigned:
    return Experiment(RolloutConfig(**config)).assign(ids, metadata or ())  # type: ignore[arg-type]


def where(assigned: Assigned) -> list[str]:
    """Return what GrowthBook would call the variations, by name."""
    return [
        "excluded"
        if place.assignment == "excluded"
        else place.group
        if place.arm is UNSET
        else place.arm
        for place in assigned.places
    ]


def arms(cuts: list[int]) -> tuple[Arm, ...]:
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return tuple(Arm(name=f"arm-{n}", buckets=pair) for n, pair in enumerate(pairs))


@given(texts, values, shares, shares, st.none() | st.tuples(texts, shares, shares))
def test_tasks_are_where_growthbook_puts_them(
    seed: str,
    value: str | float,
    percentage: float,
    coverage: float,
    namespace: tuple[str, float, float] | None,
) -> None:
    seed = seed or "seed"  # an empty one GrowthBook replaces by the key
    theirs = GrowthBook(attributes={"id": "t-1", "repo": value}).run(
        GrowthBookExperiment(
            key="key",
            variations=["treatment", "control"],
            weights=[percentage, 1 - percentage],
            coverage=coverage,
            namespace=namespace,
            hashAttribute="repo" if value else "id",
            hashVersion=2,
            seed=seed,
        )
    )
    ours = assign(
        ["t-1"],
        [Raw(msgspec.json.encode({"repo": value}))],
        experiment=seed,
        percentage=percentage,
        coverage=coverage,
        namespace=namespace and Namespace(id=namespace[0], range=namespace[1:]),
        attribute="metadata.repo",
    )
    assert where(ours) == [theirs.value if theirs.inExperiment else "excluded"]
    if isinstance(value, str):
        assert ours.units == [value or UNSET]
    if theirs.bucket is not None:
        assert ours.buckets == [round(theirs.bucket * 10_000)]


@given(shares, shares, shares, shares)
def test_more_of_a_percentage_or_of_coverage_takes_nobody_out_of_treatment(
    one: float, other: float, some: float, more: float
) -> None:
    few = where(assign(IDS, percentage=min(one, other), coverage=min(some, more)))
    many = where(assign(IDS, percentage=max(one, other), coverage=max(some, more)))
    for before, after in zip(few, many, strict=True):
        assert before != "treatment" or after == "treatment"


@given(shares, st.none() | edges.map(arms), shares, shares)
def test_more_coverage_only_adds_to_every_arm(
    percentage: float, several: tuple[Arm, ...] | None, some: float, more: float
) -> None:
    low, high = min(some, more), max(some, more)
    few = where(assign(IDS, coverage=low, percentage=percentage, arms=several))
    many = where(assign(IDS, coverage=high, percentage=percentage, arms=several))
    for before, after in zip(few, many, strict=True):
        assert before in {after, "excluded"}


@given(edges.map(arms))
def test_arms_have_exactly_their_buckets(several: tuple[Arm, ...]) -> None:
    found = assign(IDS, arms=several)
    for number, name in zip(buckets("router", IDS).tolist(), where(found), strict=True):
        holding = [arm.name for arm in several if arm.buckets[0] <= number < arm.buckets[1]]
        assert [name] == (holding or ["control"])


@given(st.integers(0, 1000))
def test_mutually_exclusive_experiments_share_nobody(cut: int) -> None:
    parts = [(0.0, cut / 1000), (cut / 1000, 1.0)]
    one, other = (
        where(assign(IDS, percentage=0.5, experiment=name, namespace=Namespace(id="n", range=part)))
        for name, part in zip(("first", "second"), parts, strict=True)
    )
    assert [(a == "excluded") + (b == "excluded") for a, b in zip(one, other, strict=True)] == [
        1
    ] * len(IDS)


@given(shares, shares)
def test_the_treated_share_is_that_of_the_buckets(percentage: float, coverage: float) -> None:
    experiment = Experiment(RolloutConfig(percentage=percentage, coverage=coverage))
    taking_part = [name for name in where(experiment.assign(IDS)) if name != "excluded"]
    if len(taking_part) > 500:
        treated = taking_part.count("treatment") / len(taking_part)
        assert abs(treated - experiment.treated_share) < 0.12
