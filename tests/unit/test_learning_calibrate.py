from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning import calibrate

SCORES = st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans(), st.booleans()), min_size=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    chance = np.random.default_rng(0)
    logits = (3 * chance.standard_normal((20_000, 4))).astype(np.float32)
    noise = chance.gumbel(size=logits.shape)
    targets = (logits / temperature + noise).argmax(1)
    weights = np.ones(len(targets), np.float32)
    found = calibrate.fit_temperature(logits, targets, weights)
    assert found == pytest.approx(temperature, rel=0.05)


@given(SCORES)
def test_no_threshold_for_rules_gives_more_right_answers(
    scores: list[tuple[float, bool, bool]],
) -> None:
    certainty, right, rules = (np.array(column) for column in zip(*scores, strict=True))

    def correct(threshold: float) -> int:
        return int(np.where(certainty < threshold, rules, right).sum())

    found = calibrate.threshold_for_rules(certainty.astype(np.float32), right, rules)
    distinct = len(np.unique(certainty.round(3))) == len(certainty)
    if found is None:
        assert all(correct(each) <= right.sum() for each in certainty) or not distinct
    elif distinct:
        assert correct(found) >= max(correct(each) for each in (*certainty, 9.0)) - 1


def test_none_is_refused_where_it_pays() -> None:
    certainty = np.array([5, 6, 7, 8], np.float32)
    right = np.array([True, True, True, True])
    threshold = calibrate.threshold_for_none(certainty, right, np.array([1, 2, 3], np.float32))
    assert 3 < threshold <= 5


def test_without_examples_of_none_a_twentieth_is_given_up() -> None:
    certainty = np.linspace(0, 1, 1_001, dtype=np.float32)
    threshold = calibrate.threshold_for_none(certainty, certainty > 0.5, [])
    assert (certainty < threshold).mean() == pytest.approx(0.05, abs=0.002)
