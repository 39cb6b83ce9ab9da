"""Metrics against scikit-learn and SciPy, and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from learning import metrics, selective
from learning.bootstrap import accuracies, interval, macro_f1s, resample

Case = tuple[np.ndarray, np.ndarray, int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    labels = draw(st.integers(2, 6))
    n = draw(st.integers(1, 40))
    column = st.lists(st.integers(0, labels - 1), min_size=n, max_size=n)
    return np.array(draw(column)), np.array(draw(column)), labels


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Confidences on a coarse grid, so that ties are common, and whether the answer was right."""
    n = draw(st.integers(1, 40))
    grid = st.lists(st.integers(0, 15), min_size=n, max_size=n)
    flags = st.lists(st.booleans(), min_size=n, max_size=n)
    return np.array(draw(grid)) / 15, np.array(draw(flags))


@given(cases())
def test_confusion_and_what_follows_from_it_agree_with_scikit_learn(case: Case) -> None:
    truth, predicted, labels = case
    found = metrics.confusion_matrix(truth, predicted, labels)
    every = [*range(labels)]
    np.testing.assert_array_equal(found, oracle.confusion_matrix(truth, predicted, labels=every))
    expected = oracle.precision_recall_fscore_support(
        truth, predicted, labels=every, zero_division=0
    )
    for ours, theirs in zip(metrics.per_label(found), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert metrics.macro_f1(found) == pytest.approx(
        oracle.f1_score(truth, predicted, average="macro", zero_division=0)
    )


def test_a_label_that_neither_occurs_nor_is_answered_does_not_count() -> None:
    found = metrics.confusion_matrix(np.array([0, 1]), np.array([0, 1]), 9)
    assert metrics.macro_f1(found) == 1.0
    assert metrics.macro_f1(np.zeros((3, 3), np.int64)) == 0.0


@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(2, 7))
def test_log_loss_and_brier_score_agree_with_scikit_learn(seed: int, n: int, labels: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, labels, n)
    probabilities = random.dirichlet(np.full(labels, 0.3), n)
    probabilities /= probabilities.sum(1, keepdims=True)
    every = [*range(labels)]
    assert metrics.log_loss(truth, probabilities) == pytest.approx(
        oracle.log_loss(truth, probabilities, labels=every)
    )
    # Of two labels, scikit-learn counts one alone unless it is told not to.
    assert metrics.brier_score(truth, probabilities) == pytest.approx(
        oracle.brier_score_loss(truth, probabilities, labels=every, scale_by_half=False)
    )


def test_a_label_that_was_ruled_out_costs_much_and_not_infinitely_much() -> None:
    assert 30 < metrics.log_loss(np.array([1]), np.array([[1.0, 0.0]])) < 40


def test_calibration_error_as_worked_out_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    bins = metrics.reliability(confidence, right)
    assert bins.size.tolist() == [2, 4]
    assert metrics.calibration_error(bins) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)


def test_bins_are_closed_above_and_hold_everything() -> None:
    confidence = np.array([0.0, 0.2, 0.2 + 1e-9, 1.0])
    bins = metrics.reliability(confidence, np.array([True] * 4), bins=5)
    assert bins.size.tolist() == [2, 1, 1]


def test_bins_by_rank_are_equally_full() -> None:
    confidence = np.linspace(0.8, 0.9, 150)
    right = np.arange(150) % 10 > 0
    assert len(metrics.reliability(confidence, right).size) <= 3
    assert metrics.reliability_by_rank(confidence, right).size.tolist() == [10] * 15


@given(scored(), st.randoms())
def test_no_figure_depends_on_the_order_of_lines(case: tuple, random: object) -> None:
    confidence, right = case
    order = [*range(len(right))]
    random.shuffle(order)  # type: ignore[attr-defined]
    for bins in (metrics.reliability, metrics.reliability_by_rank):
        one, other = bins(confidence, right), bins(confidence[order], right[order])
        assert metrics.calibration_error(one) == pytest.approx(metrics.calibration_error(other))
        assert one.size.sum() == len(right)
    one, other = (
        selective.risk_coverage(confidence, right),
        selective.risk_coverage(confidence[order], right[order]),
    )
    np.testing.assert_allclose(one.risk, other.risk)


@given(scored())
def test_the_curve_ends_at_the_error_of_all_lines(case: tuple) -> None:
    confidence, right = case
    curve = selective.risk_coverage(confidence, right)
    assert curve.coverage[-1] == 1.0
    assert curve.risk[-1] == pytest.approx(1 - right.mean())
    assert selective.accuracy_at(curve, 1.0) == pytest.approx(right.mean())


def test_risk_and_coverage_as_worked_out_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    right = np.array([True, False, True, False])
    curve = selective.risk_coverage(confidence, right)
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert selective.aurc(curve) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert selective.accuracy_at(curve, 0.75) == pytest.approx(2 / 3)
    assert selective.accuracy_at(curve, 0.74) == pytest.approx(2 / 3)  # as few as make it up
    assert selective.accuracy_at(curve, 0.25) == 1.0


def test_nine_of_ten_lines_are_ninety_percent() -> None:
    right = np.array([True] * 9 + [False])
    curve = selective.risk_coverage(np.linspace(1, 0.1, 10), right)
    assert selective.accuracy_at(curve, 0.9) == 1.0


def test_equal_confidence_says_nothing_whatever_the_order() -> None:
    right = np.array([True, True, False, False])
    curve = selective.risk_coverage(np.full(4, 0.5), right)
    assert curve.risk.tolist() == [0.5] * 4


@given(scored())
def test_ranking_agrees_with_scikit_learn(case: tuple) -> None:
    score, positive = case
    assume(positive.any() and not positive.all())
    found = selective.auroc(score[positive], score[~positive])
    assert found == pytest.approx(oracle.roc_auc_score(positive, score))
    ours = selective.roc(score[positive], score[~positive])
    false, true, _ = oracle.roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose(ours.false_positives, false)
    np.testing.assert_allclose(ours.true_positives, true)


def test_resampled_figures_are_those_of_drawn_lines() -> None:
    """Each resample, written out as lines again, has the accuracy and F1 scikit-learn finds."""
    random = np.random.default_rng(3)
    truth, one, other = random.integers(0, 4, (3, 60))
    drawn = resample(truth, one, other, seed=1, resamples=20)
    assert (drawn.counts.sum(1) == 60).all()
    for router in (0, 1):
        right, f1 = accuracies(drawn, router), macro_f1s(drawn, router)
        for number, counts in enumerate(drawn.counts):
            lines = np.repeat(drawn.cells, counts, axis=0)
            assert right[number] == pytest.approx((lines[:, 0] == lines[:, 1 + router]).mean())
            assert f1[number] == pytest.approx(
                oracle.f1_score(lines[:, 0], lines[:, 1 + router], average="macro")
            )


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        answer = (random.random(400) < 0.8).astype(int)
        found = interval(accuracies(resample(np.ones(400, int), answer, seed=seed, resamples=500)))
        held += found.low <= 0.8 <= found.high
    assert 0.91 <= held / 300 <= 0.98


def test_a_difference_on_the_same_lines_is_surer_than_two_intervals() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 500)
    one = np.where(random.random(500) < 0.8, truth, (truth + 1) % 3)
    other = np.where(random.random(500) < 0.95, one, (truth + 1) % 3)  # errs where `one` does
    drawn = resample(truth, one, other)
    low, high = interval(accuracies(drawn, 0) - accuracies(drawn, 1))
    assert low > 0
    assert high - low < interval(accuracies(drawn, 0)).high - interval(accuracies(drawn, 0)).low


def test_the_same_seed_draws_the_same() -> None:
    truth, answer = np.arange(30) % 3, np.arange(30) % 2
    one, same, other = (resample(truth, answer, seed=seed).counts for seed in (5, 5, 6))
    assert (one == same).all()
    assert (one != other).any()
