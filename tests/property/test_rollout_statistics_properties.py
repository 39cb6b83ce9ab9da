from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rollout.statistics.failures import FailureMonitor, LimitMonitor, rate_sequence
from rollout.statistics.odds import Odds
from rollout.statistics.proportions import compare, wilson
from rollout.statistics.sample_ratio import SampleRatioMonitor, sample_ratio
from rollout.statistics.sequences import EffectMonitor, confidence_sequence, effect_path, radius

shares = st.floats(0.01, 0.99)
levels = st.floats(0.001, 0.2)
outcomes = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])),
    max_size=20,
)


@st.composite
def counts(draw: st.DrawFn, most: int = 200) -> tuple[int, int]:
    n = draw(st.integers(0, most))
    return draw(st.integers(0, n)), n


def monitored(rows: list[tuple[bool, float, float]]) -> EffectMonitor:
    monitor = EffectMonitor()
    for treated, reward, share in rows:
        monitor = monitor.update(treated, reward, share)
    return monitor


@given(outcomes, st.integers(0, 20))
def test_an_effect_is_the_same_however_outcomes_are_batched(
    rows: list[tuple[bool, float, float]], cut: int
) -> None:
    one_by_one = monitored(rows)
    batched = EffectMonitor()
    for part in (rows[:cut], rows[cut:]):
        treated, reward, share = ([row[i] for row in part] for i in range(3))
        batched = batched.update(treated, reward, share)
    assert batched.sums == pytest.approx(one_by_one.sums, abs=1e-12)


@given(outcomes)
def test_an_effect_is_resumed_where_it_was_left(rows: list[tuple[bool, float, float]]) -> None:
    monitor = monitored(rows)
    assert msgspec.json.decode(msgspec.json.encode(monitor), type=EffectMonitor) == monitor


@given(outcomes)
def test_an_effect_is_the_mean_of_aipw_scores_weighted_by_overlap(
    rows: list[tuple[bool, float, float]],
) -> None:
    """The textbook estimator, written out: predictions, inverse propensities, weights."""
    seen: dict[bool, list[float]] = {True: [], False: []}
    weighted = weights = 0.0
    for treated, reward, p in rows:
        if p in {0.0, 1.0}:
            continue
        both = (math.fsum([*seen[True], *seen[False]]) + 5) / (
            len(seen[True]) + len(seen[False]) + 10
        )
        m1, m0 = (
            (math.fsum(seen[arm]) + 10 * both) / (len(seen[arm]) + 10) for arm in (True, False)
        )
        score = m1 - m0
        score += (reward - m1) / p if treated else -(reward - m0) / (1 - p)
        weighted += p * (1 - p) * score
        weights += p * (1 - p)
        seen[treated].append(reward)
    monitor = monitored(rows)
    if weights:
        assert monitor.effect == pytest.approx(weighted / weights, abs=1e-9)
        assert monitor.n == len(seen[True]) + len(seen[False])
        assert monitor.treated == len(seen[True])
    else:
        assert math.isnan(monitor.effect)
        assert monitor.interval(0.05) == (-1.0, 1.0)


@given(outcomes)
def test_arms_are_interchangeable(rows: list[tuple[bool, float, float]]) -> None:
    low, high = monitored(rows).interval(0.05)
    mirrored = monitored([(not treated, reward, 1 - share) for treated, reward, share in rows])
    assert mirrored.interval(0.05) == pytest.approx((-high, -low), abs=1e-9)


@given(outcomes, levels, levels)
def test_an_interval_is_within_reason_and_wider_when_surer(
    rows: list[tuple[bool, float, float]], one: float, other: float
) -> None:
    monitor = monitored(rows)
    low, high = monitor.interval(max(one, other))
    wider_low, wider_high = monitor.interval(min(one, other))
    assert -1.0 <= wider_low <= low + 1e-12
    assert high - 1e-12 <= wider_high <= 1.0


@given(st.floats(-1, 1), st.floats(0, 4), st.integers(1, 10**6), levels, st.floats(1, 10**5))
def test_a_confidence_sequence_is_robbins_mixture_for_the_mean(
    mean: float, variance: float, n: int, alpha: float, best_at: float
) -> None:
    """As the paper writes it, in numbers of values."""
    cost = -2 * math.log(alpha)
    rho = math.sqrt((cost + math.log(cost + 1)) / best_at)
    half = math.sqrt(variance) * math.sqrt(
        2 * (n * rho**2 + 1) / (n**2 * rho**2) * math.log(math.sqrt(n * rho**2 + 1) / alpha)
    )
    low, high = confidence_sequence(mean, variance, n, alpha=alpha, best_at=best_at)
    assert (float(low), float(high)) == pytest.approx((mean - half, mean + half))


@given(levels, st.floats(0.1, 1_000), st.floats(0.1, 10))
def test_a_boundary_is_narrowest_where_it_is_tuned_to_be(
    alpha: float, variance: float, factor: float
) -> None:
    tuned = float(radius(variance, alpha=alpha, best_at=variance))
    other = float(radius(variance, alpha=alpha, best_at=variance * factor))
    assert tuned <= other * 1.005  # the tuning in closed form is an approximation


@given(st.lists(st.tuples(counts(), shares), max_size=6), shares)
def test_odds_are_a_martingale_under_the_expected_chances(
    before: list[tuple[tuple[int, int], float]], chance: float
) -> None:
    odds = Odds.of((-0.5, 0.1, 2.0))
    for (hits, n), p in before:
        odds = odds.update(hits, p, n)
    hit, miss = odds.update(1, chance, 1), odds.update(0, chance, 1)
    for now, on_hit, on_miss in zip(
        odds.log_likelihood_ratios,
        hit.log_likelihood_ratios,
        miss.log_likelihood_ratios,
        strict=True,
    ):
        step = chance * math.exp(on_hit - now) + (1 - chance) * math.exp(on_miss - now)
        assert step == pytest.approx(1.0)


@given(st.lists(st.tuples(counts(), shares), max_size=6), shares, shares)
def test_failures_rarer_than_expected_are_no_evidence_on_average(
    before: list[tuple[tuple[int, int], float]], chance: float, fraction: float
) -> None:
    odds = LimitMonitor().odds
    for (hits, n), p in before:
        odds = odds.update(hits, p, n)
    true = chance * fraction
    hit, miss = odds.update(1, chance, 1), odds.update(0, chance, 1)
    for now, on_hit, on_miss in zip(
        odds.log_likelihood_ratios,
        hit.log_likelihood_ratios,
        miss.log_likelihood_ratios,
        strict=True,
    ):
        step = true * math.exp(on_hit - now) + (1 - true) * math.exp(on_miss - now)
        assert step <= 1.0 + 1e-12


@given(st.lists(st.tuples(counts(10**6), shares), max_size=8))
def test_p_values_never_rise_and_are_resumed(steps: list[tuple[tuple[int, int], float]]) -> None:
    monitor = SampleRatioMonitor()
    for (treated, n), share in steps:
        later = monitor.update(treated, share, n)
        assert 0.0 <= later.p_value <= monitor.p_value <= 1.0
        monitor = msgspec.json.decode(msgspec.json.encode(later), type=SampleRatioMonitor)
        assert monitor == later


@given(st.lists(st.integers(0, 12), min_size=2, max_size=4), st.floats(1, 10_000))
def test_a_bayes_factor_is_the_product_of_predictions(
    arms: list[int], concentration: float
) -> None:
    """Polya's urn: each unit predicted from those before, against the expected share."""
    expected = [(1 + i) / sum(range(1, len(arms) + 1)) for i in range(len(arms))]
    log_factor, seen = 0.0, [0] * len(arms)
    for arm, count in enumerate(arms):
        for _ in range(count):
            predicted = (concentration * expected[arm] + seen[arm]) / (concentration + sum(seen))
            log_factor += math.log(predicted / expected[arm])
            seen[arm] += 1
    assert sample_ratio(arms, expected, concentration) == pytest.approx(log_factor, abs=1e-6)


@given(counts(), levels)
def test_a_rate_ends_where_the_beta_binomial_mixture_refutes(
    observed: tuple[int, int], alpha: float
) -> None:
    count, n = observed
    low, high = rate_sequence(count, n, alpha=alpha)
    assert 0.0 <= low <= (count / n if n else 0.5) <= high <= 1.0
    mixture = stats.betabinom.logpmf(count, n, 0.5, 0.5)
    for end in (low, high):
        if 0.0 < end < 1.0:
            evidence = mixture - stats.binom.logpmf(count, n, end)
            assert evidence == pytest.approx(-math.log(alpha), abs=1e-6)


@given(counts(), st.floats(0.5, 0.999))
def test_wilson_as_scipy_has_it(observed: tuple[int, int], confidence: float) -> None:
    hits, n = observed
    ours = wilson(hits, n, confidence)
    if n == 0:
        assert (ours.low, ours.high) == (0.0, 1.0)
        return
    theirs = stats.binomtest(hits, n).proportion_ci(confidence, "wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(counts(), counts())
def test_comparisons_hold_what_they_estimate_and_mirror(
    control: tuple[int, int], treatment: tuple[int, int]
) -> None:
    ours, mirrored = compare(control, treatment), compare(treatment, control)
    assert -1.0 <= ours.difference_low <= ours.difference_high <= 1.0
    assert 0.0 <= ours.ratio_low <= ours.ratio_high
    assert (mirrored.difference_low, mirrored.difference_high) == pytest.approx(
        (-ours.difference_high, -ours.difference_low)
    )
    if not math.isnan(ours.difference):
        assert ours.difference_low - 1e-12 <= ours.difference <= ours.difference_high + 1e-12
    if not math.isnan(ours.ratio):
        assert ours.ratio_low <= ours.ratio * (1 + 1e-9)
        assert ours.ratio <= ours.ratio_high * (1 + 1e-9)


@given(counts())
def test_impossible_numbers_are_refused(observed: tuple[int, int]) -> None:
    _, n = observed
    for refused in (
        lambda: SampleRatioMonitor().update(n + 1, 0.5, n),
        lambda: FailureMonitor().update(n, 1.5, n),
        lambda: rate_sequence(-1, n, alpha=0.05),
        lambda: wilson(n + 1, n),
        lambda: sample_ratio((n, n), (0.5, 0.6)),
        lambda: sample_ratio((n,), (0.5, 0.5)),
        lambda: effect_path([True], [1.5], 0.5),
        lambda: effect_path([True], [0.5], np.nan),
    ):
        with pytest.raises(ValueError, match=r"\d"):
            refused()
