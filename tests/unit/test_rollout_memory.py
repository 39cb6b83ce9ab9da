"""What the controller keeps small: recent keys, and sketches of latencies."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.recent import Recent
from rollout.sketch import ACCURACY, above, bin_of, quantile

MILLISECONDS = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200)


@given(MILLISECONDS, st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_off_by_a_hundredth_of_itself_at_most(
    values: list[float], share: float
) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    sketched = quantile(Counter(map(bin_of, values)), share)
    assert sketched == pytest.approx(exact, rel=ACCURACY * 1.0001)


@given(MILLISECONDS, st.floats(0.1, 1e5))
def test_what_is_clearly_above_a_limit_is_counted_and_what_is_below_is_not(
    values: list[float], limit: float
) -> None:
    counted = above(Counter(map(bin_of, values)), limit)
    slack = (1 + ACCURACY) / (1 - ACCURACY) * 1.0001
    assert sum(value > limit * slack for value in values) <= counted
    assert counted <= sum(value > limit / 1.0001 for value in values)


def test_nothing_has_no_quantile() -> None:
    assert quantile({}, 0.99) is None


@given(st.lists(st.integers(0, 30), max_size=300), st.integers(1, 8))
def test_the_newest_keys_are_remembered_and_never_more_than_twice_as_many(
    keys: list[int], limit: int
) -> None:
    recent: Recent[int] = Recent(limit)
    for place, key in enumerate(keys):
        recent.put(str(key), place)
        newest = list(dict.fromkeys(reversed(keys[: place + 1])))[:limit]
        last = {each: place - keys[: place + 1][::-1].index(each) for each in newest}
        assert {each: recent.get(str(each)) for each in newest} == last
        assert len(recent) <= 2 * limit
    for key in set(keys):
        known = recent.get(str(key))
        assert recent.pop(str(key)) == known
        assert recent.get(str(key)) is None
