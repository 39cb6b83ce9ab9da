"""GrowthBook's published cases, from the conformance suite of its SDKs, specification 0.7.1.

https://github.com/growthbook/growthbook/blob/main/packages/sdk-js/test/cases.json: all of `hash`,
`getBucketRange`, `chooseVariation`, `inNamespace` and `getEqualWeights`.
"""

from __future__ import annotations

import pytest

from router.assignment import (
    bucket_ranges,
    choose_variation,
    equal_weights,
    hash_unit,
    in_namespace,
    in_namespaces,
)

HASHES = [
    ("", "a", 1, 0.22),
    ("", "b", 1, 0.077),
    ("b", "a", 1, 0.946),
    ("ef", "d", 1, 0.652),
    ("asdf", "8952klfjas09ujk", 1, 0.549),
    ("", "123", 1, 0.011),
    ("", '___)((*":&', 1, 0.563),
    ("seed", "a", 2, 0.0505),
    ("seed", "b", 2, 0.2696),
    ("foo", "ab", 2, 0.2575),
    ("foo", "def", 2, 0.2019),
    ("89123klj", "8952klfjas09ujkasdf", 2, 0.124),
    ("90850943850283058242805", "123", 2, 0.7516),
    ("()**(%$##$%#$#", '___)((*":&', 2, 0.0128),
    ("abc", "def", 99, None),
]
RANGES = [
    ((2, 1, None), [(0, 0.5), (0.5, 1)]),
    ((2, 0.5, None), [(0, 0.25), (0.5, 0.75)]),
    ((2, 0, None), [(0, 0), (0.5, 0.5)]),
    ((4, 1, None), [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
    ((2, 1, [0.4, 0.6]), [(0, 0.4), (0.4, 1)]),
    ((3, 1, [0.2, 0.3, 0.5]), [(0, 0.2), (0.2, 0.5), (0.5, 1)]),
    ((3, 0.2, [0.2, 0.3, 0.5]), [(0, 0.04), (0.2, 0.26), (0.5, 0.6)]),
    ((2, -0.2, None), [(0, 0), (0.5, 0.5)]),
    ((2, 1.5, None), [(0, 0.5), (0.5, 1)]),
    ((2, 1, [0.4, 0.1]), [(0, 0.5), (0.5, 1)]),
    ((2, 1, [0.7, 0.6]), [(0, 0.5), (0.5, 1)]),
    ((4, 1, [0.4, 0.4, 0.2]), [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
    ((2, 1, [0.4, 0.5999]), [(0, 0.4), (0.4, 0.9999)]),
]
CHOICES = [
    ([(0, 0.5), (0.5, 1)], {0.2: 0, 0.4: 0, 0.6: 1, 0.8: 1, 0: 0, 0.5: 1}),
    ([(0, 0.25), (0.5, 0.75)], {0.2: 0, 0.4: -1, 0.6: 1, 0.8: -1, 0.25: -1, 0.5: 1}),
    ([(0, 0.5), (0.5, 0.5), (0.5, 1)], {0.5: 2}),
]
NAMESPACES = [
    (("namespace1", 0, 0.4), {"1": False, "2": False, "3": False, "4": False}),
    (("namespace1", 0.4, 1), {"1": True, "2": True, "3": True, "4": True}),
    (("namespace2", 0, 0.4), {"1": False, "2": False, "3": True, "4": True}),
    (("namespace2", 0.4, 1), {"1": True, "2": True, "3": False, "4": False}),
]
WEIGHTS = [
    (-1, []),
    (0, []),
    (1, [1]),
    (2, [0.5, 0.5]),
    (3, [0.33333333, 0.33333333, 0.33333333]),
    (4, [0.25, 0.25, 0.25, 0.25]),
]


@pytest.mark.parametrize(("seed", "value", "version", "expected"), HASHES)
def test_hashes(seed: str, value: str, version: int, expected: float | None) -> None:
    assert hash_unit(seed, value, version) == expected


@pytest.mark.parametrize(("given", "expected"), RANGES)
def test_ranges(
    given: tuple[int, float, list[float] | None], expected: list[tuple[float, float]]
) -> None:
    assert bucket_ranges(*given) == [pytest.approx(ends) for ends in expected]


@pytest.mark.parametrize(("ranges", "chosen"), CHOICES)
def test_choices(ranges: list[tuple[float, float]], chosen: dict[float, int]) -> None:
    assert {place: choose_variation(place, ranges) for place in chosen} == chosen


@pytest.mark.parametrize(("part", "members"), NAMESPACES)
def test_namespaces(part: tuple[str, float, float], members: dict[str, bool]) -> None:
    assert {unit: in_namespace(unit, *part) for unit in members} == members
    assert in_namespaces([*members], *part).tolist() == [*members.values()]


@pytest.mark.parametrize(("variations", "expected"), WEIGHTS)
def test_equal_weights(variations: int, expected: list[float]) -> None:
    assert equal_weights(variations) == pytest.approx(expected)
