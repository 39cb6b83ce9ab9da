from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from growthbook import Experiment, GrowthBook
from growthbook.core import (
    chooseVariation,
    gbhash,
    getBucketRanges,
    getEqualWeights,
    inNamespace,
    inRange,
)
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw, json

from router.assignment import (
    bucket,
    bucket_ranges,
    buckets,
    choose_variation,
    equal_weights,
    hash_unit,
    in_namespace,
    in_namespaces,
    in_range,
)
from router.attributes import number_text, texts

shares = st.floats(0, 1)
units = st.text(st.characters(), max_size=128)  # surrogates and astral characters included
ends = st.tuples(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)


@given(units, units, st.integers(-1, 5))
def test_hash_agrees_with_growthbook(seed: str, value: str, version: int) -> None:
    assert hash_unit(seed, value, version) == gbhash(seed, value, version)


@given(units, st.lists(units, max_size=20))
def test_a_batch_is_its_tasks(experiment: str, ids: list[str]) -> None:
    assert buckets(experiment, ids).tolist() == [bucket(experiment, unit) for unit in ids]


@given(st.lists(units, max_size=20), units, shares, shares)
def test_namespaces_agree_with_growthbook(
    ids: list[str], name: str, start: float, end: float
) -> None:
    expected = [inNamespace(unit, (name, start, end)) for unit in ids]
    assert [in_namespace(unit, name, start, end) for unit in ids] == expected
    assert in_namespaces(ids, name, start, end).tolist() == expected


@given(st.lists(units, min_size=1, max_size=20), units, st.lists(shares, min_size=2, max_size=6))
def test_parts_of_a_namespace_share_nobody(ids: list[str], name: str, edges: list[float]) -> None:
    cuts = [0.0, *sorted(edges), 1.0]
    members = [in_namespaces(ids, name, *part) for part in pairwise(cuts)]
    assert np.sum(members, axis=0).tolist() == [1] * len(ids)


@given(st.integers(-2, 20))
def test_equal_weights_agree_with_growthbook(variations: int) -> None:
    assert equal_weights(variations) == getEqualWeights(variations)


@given(
    st.integers(0, 6),
    st.floats(-1, 2),
    st.none() | st.lists(st.floats(-0.2, 1.2) | st.just(math.nan), max_size=6),
)
@example(2, 0.5, [0.4, 0.5999])
@example(2, 1.0, [1.2, -0.2])
@example(3, 0.2, [0.2, 0.3, 0.5])
def test_ranges_agree_with_growthbook(
    variations: int, coverage: float, weights: list[float] | None
) -> None:
    expected = getBucketRanges(variations, coverage, weights)
    assert bucket_ranges(variations, coverage, weights) == expected


@given(shares, st.lists(ends, max_size=6))
def test_choice_agrees_with_growthbook(place: float, ranges: list[tuple[float, float]]) -> None:
    assert choose_variation(place, ranges) == chooseVariation(place, ranges)
    assert [in_range(place, each) for each in ranges] == [inRange(place, each) for each in ranges]


@given(numbers.filter(bool))
@example(1e21)
@example(1.5e-7)
@example(123456789012345680000)
def test_numbers_are_hashed_as_growthbook_hashes_them(number: float) -> None:
    experiment = Experiment(key="x", variations=[0, 1], hashAttribute="n", hashVersion=2)
    theirs = GrowthBook(attributes={"n": number}).run(experiment)
    assert hash_unit("x", number_text(number), 2) == theirs.bucket
    assert texts("n", [Raw(json.encode({"n": number}))]) == [number_text(number)]
