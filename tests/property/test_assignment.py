from __future__ import annotations

from growthbook.core import gbhash
from hypothesis import given
from hypothesis import strategies as st

from router.assignment import bucket, buckets, group

shares = st.floats(0, 1)
units = st.text(st.characters(), max_size=128)  # surrogates and astral characters included


@given(units, units)
def test_agrees_with_growthbook(experiment: str, unit: str) -> None:
    share = gbhash(experiment, unit, 2)
    assert bucket(experiment, unit) / 10_000 == share


@given(units, st.lists(units, max_size=20))
def test_a_batch_is_its_tasks(experiment: str, ids: list[str]) -> None:
    assert buckets(experiment, ids).tolist() == [bucket(experiment, unit) for unit in ids]


@given(units, shares, shares)
def test_a_larger_percentage_takes_nobody_out_of_treatment(
    unit: str, one: float, other: float
) -> None:
    number = bucket("router", unit)
    if group(number, min(one, other)) == "treatment":
        assert group(number, max(one, other)) == "treatment"


@given(units)
def test_nobody_at_zero_and_everybody_at_one(unit: str) -> None:
    number = bucket("router", unit)
    assert group(number, 0.0) == "control"
    assert group(number, 1.0) == "treatment"
