from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.risk import MIN_EXAMPLES, NEVER, Scored, control, recompute, revert, thresholds

if TYPE_CHECKING:
    from numpy.random import Generator

LABELS = ("a", "b", "c")


def draw(rng: Generator, n: int, skill: float = 2.0) -> Scored:
    """Certainties that say something of correctness, differently per label."""
    certainty = rng.normal(size=n).astype(np.float32)
    labels = rng.choice(LABELS, n, p=[0.6, 0.38, 0.02])
    offset = np.where(labels == "a", 2.0, 0.5)
    correct = rng.random(n) < 1 / (1 + np.exp(-(skill * certainty + offset)))
    return Scored(certainty, correct, labels.tolist(), rng.random(n) < 0.6)


def followed(scored: Scored, threshold: float) -> np.ndarray:
    return ~(scored.certainty < np.float32(threshold))  # as router.neural compares


@pytest.mark.parametrize("target", [0.02, 0.05, 0.15])
@pytest.mark.parametrize("n", [60, 300])
@pytest.mark.parametrize("rules", [True, False])
def test_expected_risk_is_at_most_what_is_allowed(*, target: float, n: int, rules: bool) -> None:
    rng = np.random.default_rng(n)
    risks = []
    for _ in range(600):
        known, new = draw(rng, n), draw(rng, 400)
        if not rules:
            known = Scored(known.certainty, known.correct, known.labels)
        found = control(known, target)
        assert found.bound <= target
        risks.append(float((followed(new, found.certainty) & ~new.correct).mean()))
    error = float(np.std(risks)) / len(risks) ** 0.5
    assert np.mean(risks) <= target + 3 * error
    if not rules:  # and what is allowed is used: the guarantee is tight within 2 / (n + 1)
        assert np.mean(risks) >= target - 2 / (n + 1) - 3 * error


def test_each_label_with_enough_examples_keeps_its_own_risk() -> None:
    rng = np.random.default_rng(5)
    risks: dict[str, list[float]] = {"a": [], "b": []}
    for _ in range(300):
        found = thresholds(draw(rng, 400), 0.1, labels=LABELS)
        assert [found[label].pooled for label in LABELS] == [False, False, True]
        new = draw(rng, 2000)
        for label, values in risks.items():
            own = np.array(new.labels) == label
            wrong = followed(new, found[label].certainty) & ~new.correct
            values.append(float(wrong[own].mean()))
    for values in risks.values():
        assert np.mean(values) <= 0.1 + 3 * float(np.std(values)) / 300**0.5


certainties = st.lists(st.floats(-3, 3, width=32).map(lambda x: round(x, 1)), max_size=40)


@given(certainties=certainties, target=st.floats(0, 1), data=st.data())
def test_no_threshold_that_is_allowed_would_succeed_more(
    certainties: list[float], target: float, data: st.DataObject
) -> None:
    flags = st.lists(st.booleans(), min_size=len(certainties), max_size=len(certainties))
    correct, otherwise = (np.array(data.draw(flags), bool) for _ in range(2))
    scored = Scored(np.array(certainties, np.float32), correct, (), otherwise)
    found = control(scored, target)
    n = len(certainties)
    best = -1.0
    for candidate in [*map(float, scored.certainty), NEVER]:
        taken = followed(scored, candidate)
        mistakes = int((taken & ~correct).sum())
        success = float(np.where(taken, correct, otherwise).mean()) if n else 0.0
        if (mistakes + 1) / (n + 1) <= target or not taken.any():
            best = max(best, success)
        if candidate == found.certainty:
            assert (found.coverage * n, found.risk * n) == pytest.approx((taken.sum(), mistakes))
            assert found.success == pytest.approx(success)
    assert found.success == pytest.approx(best)


def test_more_risk_never_follows_less() -> None:
    known = draw(np.random.default_rng(1), 200)
    alone = Scored(known.certainty, known.correct, known.labels)
    coverages = [control(alone, target).coverage for target in np.linspace(0, 1, 21)]
    assert coverages == sorted(coverages)
    assert coverages[0] == 0.0
    assert coverages[-1] == 1.0


def test_recomputing_is_logged_and_can_be_taken_back() -> None:
    now = {"a": 0.25, "c": -1.0}
    outcomes = draw(np.random.default_rng(2), 500)
    new, changes = recompute(now, outcomes, target=0.05, labels=LABELS)
    assert [change.label for change in changes] == [*LABELS]
    assert {change.label: change.after for change in changes} == new
    assert "allowed" in changes[0].reason
    assert revert(new, changes) == now
    assert recompute(new, outcomes, target=0.05, labels=LABELS) == (new, [])


def test_a_few_outcomes_change_nothing() -> None:
    outcomes = draw(np.random.default_rng(3), MIN_EXAMPLES - 1)
    assert recompute({"a": 1.0}, outcomes, target=0.05, labels=LABELS) == ({"a": 1.0}, [])


@pytest.mark.parametrize(
    ("scored", "target"),
    [
        (Scored(np.zeros(3, np.float32), np.ones(2, bool), ()), 0.1),
        (Scored(np.full(3, np.nan, np.float32), np.ones(3, bool), ()), 0.1),
        (Scored(np.zeros(3, np.float32), np.ones(3, bool), ()), 1.5),
    ],
)
def test_what_makes_no_sense_is_refused(scored: Scored, target: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        control(scored, target)
