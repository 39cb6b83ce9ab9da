"""The statistics of a rollout on published examples, and simulated many times over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from rollout.statistics.failures import FailureMonitor, LimitMonitor
from rollout.statistics.planning import Scenario, outcomes_until
from rollout.statistics.proportions import compare
from rollout.statistics.sample_ratio import SampleRatioMonitor
from rollout.statistics.sequences import EffectMonitor, confidence_sequence, effect_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rollout.statistics.sequences import Path

    Monitor = SampleRatioMonitor | FailureMonitor | LimitMonitor

ALPHA = 0.05
RUNS = 1_000
LOOK_EVERY = 100
STAGES = (0.1, 0.25, 0.5, 0.75)


def allowed(runs: int, alpha: float = ALPHA) -> float:
    """Alarms that a level of exactly `alpha` exceeds once in a thousand simulations."""
    return float(stats.binom.ppf(0.999, runs, alpha))


def simulated(
    rates: tuple[NDArray[np.float64] | float, NDArray[np.float64] | float],
    share: NDArray[np.float64] | float,
    n: int,
    runs: int,
) -> Path:
    rng = np.random.default_rng(5)
    treated = rng.random((runs, n)) < share
    control, treatment = rates
    reward = rng.random((runs, n)) < np.where(treated, treatment, control)
    return effect_path(treated, reward, share)


def alarms(path: Path, every: int = 1, effect: float = 0.0) -> int:
    low, high = path.interval(ALPHA)
    outside = (low > effect) | (high < effect)
    return int(outside[:, every - 1 :: every].any(axis=1).sum())


# Newcombe 1998, "Interval estimation for the difference between independent proportions", table II,
# method 10.
@pytest.mark.parametrize(
    ("treatment", "control", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_differences_as_newcombe_published_them(
    treatment: tuple[int, int], control: tuple[int, int], low: float, high: float
) -> None:
    ours = compare(control, treatment)
    assert (ours.difference_low, ours.difference_high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("control", "treatment"), [(0.5, 0.3), (0.9, 0.9), (0.05, 0.1)])
def test_what_people_are_shown_covers_as_often_as_it_says(control: float, treatment: float) -> None:
    """Exactly: every result that 60 and 40 tasks can have, with its probability."""
    n_c, n_t = 60, 40
    covered = {"difference": 0.0, "ratio": 0.0}
    for c in range(n_c + 1):
        for t in range(n_t + 1):
            chance = float(pmf(c, n_c, control) * pmf(t, n_t, treatment))
            if chance < 1e-9:
                continue
            shown = compare((c, n_c), (t, n_t))
            difference, ratio = treatment - control, treatment / control
            covered["difference"] += chance * (
                shown.difference_low <= difference <= shown.difference_high
            )
            covered["ratio"] += chance * (shown.ratio_low <= ratio <= shown.ratio_high)
    assert all(0.94 <= share <= 0.99 for share in covered.values()), covered


def pmf(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize(("share", "rate"), [(0.1, 0.8), (0.1, 0.99), (0.5, 0.8), (0.25, 0.95)])
def test_equal_arms_raise_no_more_alarms_than_stated_whenever_looked_at(
    share: float, rate: float
) -> None:
    path = simulated((rate, rate), share, 2_500, 400)
    assert alarms(path) <= allowed(400)


def test_an_ordinary_interval_would_not_survive_the_same_peeking() -> None:
    path = simulated((0.8, 0.8), 0.5, 2_500, 400)
    half = stats.norm.ppf(1 - ALPHA / 2) * np.sqrt(path.variance()) / path.weight
    outside = np.abs(path.effect()) > half
    assert outside[:, LOOK_EVERY - 1 :: LOOK_EVERY].any(axis=1).sum() > 2 * allowed(400)


def test_a_thousand_rollouts_of_an_equal_model_while_rewards_fall_and_stages_pass() -> None:
    """Comparing plain means, the arms would differ: treatment grows as everything gets worse."""
    n = 4_000
    share, rate = np.repeat(STAGES, n // len(STAGES)), np.linspace(0.95, 0.6, n)
    wrong, naive = 0, []
    for _ in range(4):
        path = simulated((rate, rate), share, n, RUNS // 4)
        wrong += alarms(path, LOOK_EVERY)
        ends = [each[:, -1] for each in path]
        naive.append((ends[3] / ends[1] - ends[2] / (ends[0] - ends[1])).mean())
    assert wrong <= allowed(RUNS)
    assert np.mean(naive) < -0.05


def test_a_real_effect_is_covered_while_stages_pass() -> None:
    n = 4_000
    share = np.repeat(STAGES, n // len(STAGES))
    path = simulated((0.8, 0.7), share, n, 250)
    assert alarms(path, effect=-0.1) <= allowed(250)
    assert path.effect()[:, -1].mean() == pytest.approx(-0.1, abs=0.004)


def test_outcomes_of_one_arm_being_heard_less_often_bend_nothing() -> None:
    """AIPW is doubly robust: with predictions from each arm the share need not be right."""
    rng = np.random.default_rng(7)
    treated = rng.random((200, 3_000)) < 0.15 / (0.15 + 0.7)  # .3 assigned, half of them heard
    reward = rng.random((200, 3_000)) < np.where(treated, 0.6, 0.8)
    effect = effect_path(treated, reward, 0.3).effect()[:, -1]
    assert effect.mean() == pytest.approx(-0.2, abs=0.01)


def test_a_mean_is_covered_at_all_times() -> None:
    values = np.random.default_rng(2).random((RUNS, 2_000)) < 0.9
    n = np.arange(1, 2_001)
    mean = values.cumsum(axis=1) / n
    # A variance of 0 would promise certainty: one success and one failure more than there were.
    smoothed = (values.cumsum(axis=1) + 1) / (n + 2)
    low, high = confidence_sequence(mean, smoothed * (1 - smoothed), n, alpha=ALPHA, best_at=500)
    assert ((low > 0.9) | (high < 0.9)).any(axis=1).sum() <= allowed(RUNS)


@pytest.mark.parametrize(("share", "median", "most"), [(0.1, 710, 1_460), (0.5, 245, 480)])
def test_a_model_right_in_60_of_100_where_rules_are_in_80_is_known_soon(
    share: float, median: float, most: float
) -> None:
    taken = outcomes_until(Scenario(0.8, 0.6, share), alpha=ALPHA, at_most=3_000, runs=300)
    found = np.quantile(taken, (0.5, 0.95))
    assert found == pytest.approx((median, most), rel=0.15)
    assert np.isfinite(taken).all()


def test_the_plan_says_what_the_monitor_does() -> None:
    scenario = Scenario(0.8, 0.6, 0.25)
    planned = outcomes_until(scenario, alpha=ALPHA, at_most=1_000, runs=1, seed=3, look_every=10)
    rng = np.random.default_rng(3)
    treated = rng.random((1, 1_000))[0] < scenario.share
    reward = rng.random((1, 1_000))[0] < np.where(treated, 0.6, 0.8)
    monitor, looks = EffectMonitor(), 0
    while monitor.interval(ALPHA)[1] >= 0.0:
        rows = slice(looks * 10, (looks + 1) * 10)
        monitor = monitor.update(treated[rows], reward[rows], scenario.share)
        looks += 1
    assert planned.tolist() == [looks * 10]


def test_an_equal_model_is_known_to_be_no_worse_than_a_margin_in_time() -> None:
    scenario = Scenario(0.8, 0.8, 0.5)
    taken = outcomes_until(
        scenario, alpha=ALPHA, margin=0.1, at_most=4_000, runs=200, look_every=LOOK_EVERY
    )
    assert np.median(taken) <= 800
    assert np.isfinite(taken).mean() > 0.95
    harmful = Scenario(0.8, 0.7, 0.5)
    passed = outcomes_until(harmful, alpha=ALPHA, margin=0.1, at_most=4_000, runs=200)
    assert np.isfinite(passed).sum() <= allowed(200)


def alarmed(  # noqa: PLR0913 - what is true, what is expected, and how it is watched
    start: Callable[[], Monitor],
    true: list[float],
    expected: list[float],
    *,
    runs: int,
    each: int = LOOK_EVERY,
    alpha: float = ALPHA,
) -> NDArray[np.float64]:
    """Units until each run's alarm, inf where there was none."""
    hits = np.random.default_rng(11).binomial(each, true, (runs, len(true)))
    until = np.full(runs, math.inf)
    for run, row in enumerate(hits):
        monitor = start()
        for look, (count, chance) in enumerate(zip(row, expected, strict=True), 1):
            monitor = monitor.update(int(count), chance, each)
            if monitor.p_value <= alpha:
                until[run] = look * each
                break
    return until


STAGED = [share for share in STAGES for _ in range(10)]


@pytest.mark.parametrize(
    ("start", "shares"),
    [
        (SampleRatioMonitor, [0.1] * 40),
        (SampleRatioMonitor, STAGED),
        (FailureMonitor, STAGED),
        (LimitMonitor, [0.02] * 40),
    ],
)
def test_a_thousand_counts_as_expected_raise_no_more_alarms_than_stated(
    start: Callable[[], Monitor], shares: list[float]
) -> None:
    until = alarmed(start, shares, shares, runs=RUNS)
    assert np.isfinite(until).sum() <= allowed(RUNS)


@pytest.mark.parametrize(("share", "median"), [(0.1, 75_000), (0.5, 30_000)])
def test_a_twentieth_of_treatment_lost_is_flagged(share: float, median: float) -> None:
    arriving = 0.95 * share / (0.95 * share + 1 - share)
    looks = 200
    until = alarmed(
        SampleRatioMonitor, [arriving] * looks, [share] * looks, runs=100, each=1_000, alpha=0.01
    )
    assert np.median(until) <= median
    assert np.isfinite(until).mean() >= 0.99


def test_a_loss_is_flagged_over_stages_none_of_which_would_flag_it() -> None:
    """Evidence adds up when the percentage changes."""
    shares = [0.1] * 10 + [0.25] * 10 + [0.5] * 10 + [0.75] * 10
    arriving = [0.9 * p / (0.9 * p + 1 - p) for p in shares]
    together = alarmed(SampleRatioMonitor, arriving, shares, runs=200, each=300)
    alone = [
        alarmed(SampleRatioMonitor, arriving[i : i + 10], shares[i : i + 10], runs=200, each=300)
        for i in range(0, 40, 10)
    ]
    assert np.isfinite(together).mean() > 0.9
    assert all(np.isfinite(part).mean() < 0.5 for part in alone)


def test_twice_the_failures_are_noticed_and_fewer_are_none() -> None:
    share = 0.1
    doubled = 2 * share / (2 * share + 1 - share)
    until = alarmed(FailureMonitor, [doubled] * 40, [share] * 40, runs=100, each=10)
    assert np.median(until) <= 150
    halved = 0.5 * share / (0.5 * share + 1 - share)
    never = alarmed(FailureMonitor, [halved] * 40, [share] * 40, runs=300)
    assert not np.isfinite(never).any()


def test_what_cannot_be_is_certainty() -> None:
    assert SampleRatioMonitor().update(1, 0.0, 50).p_value == 0.0
    assert SampleRatioMonitor().update(49, 1.0, 50).p_value == 0.0
    assert SampleRatioMonitor().update(0, 0.0, 50).update(50, 1.0, 50).p_value == 1.0
    assert LimitMonitor().update(1, 0.0, 1).p_value == 0.0


def test_nothing_seen_is_nothing_known() -> None:
    summary = SampleRatioMonitor().summary()
    assert (summary.p_value, summary.n) == (1.0, 0)
    assert math.isnan(summary.treated)
    assert math.isnan(FailureMonitor().ratio)
    assert EffectMonitor().interval(ALPHA) == (-1.0, 1.0)
    assert EffectMonitor().update([], [], 0.5) == EffectMonitor()
    assert EffectMonitor().update([True, False], [1.0, 0.0], [1.0, 0.0]).n == 0


def test_failures_are_counted_per_task() -> None:
    monitor = FailureMonitor().update(20, 0.1, 110)
    assert monitor.ratio == pytest.approx((20 / 0.1) / (90 / 0.9))
    assert FailureMonitor().update(3, 0.1, 3).ratio == math.inf
