from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.intervals import betting, student
from learning.logged import Logged, mixture
from learning.offpolicy import (
    MIN_APART,
    MIN_ESS,
    MIN_TASKS,
    Estimate,
    doubly_robust,
    ips,
    lift,
    snips,
    verdict,
)
from learning.rewards import cross_fitted

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MASTERS = 5
REPETITIONS = 200
TRUTH_SAMPLE = 200_000


@dataclass(frozen=True)
class World:
    """Tasks with features, masters with hidden skill, a logging policy that is mostly right.

    Attributes:
        tasks: logged each time.
        exploration: share of tasks given to any master.
        noise: standard deviation of a graded reward; None is success or failure.
        agreement: how often the candidate does as the logging policy does.
    """

    tasks: int
    exploration: float
    noise: float | None
    agreement: float

    def draw(self, rng: Generator, n: int) -> tuple[Floats, Logged, Floats, Floats, Floats]:
        """Return features, log, the candidate's and the baseline's actions, and the skills."""
        features = rng.normal(size=(n, 4))
        hidden = np.random.default_rng(7).normal(size=(4, MASTERS))
        skill = 1 / (1 + np.exp(-features @ hidden))
        stranger = rng.integers(0, MASTERS, n)
        greedy = np.where(rng.random(n) < 0.75, skill.argmax(1), stranger)
        candidate = np.where(rng.random(n) < self.agreement, greedy, skill.argmax(1))
        chances = np.full((n, MASTERS), self.exploration / MASTERS)
        chances[np.arange(n), greedy] += 1 - self.exploration
        actions = (chances.cumsum(1) > rng.random((n, 1))).argmax(1)
        expected = skill[np.arange(n), actions]
        graded = np.clip(expected + rng.normal(0, self.noise or 0, n), 0, 1)
        rewards = graded if self.noise else (rng.random(n) < expected).astype(float)
        propensities = chances[np.arange(n), actions]
        log = Logged(rewards, actions, propensities, least=self.exploration / MASTERS)
        return features, log, np.eye(MASTERS)[candidate], np.eye(MASTERS)[greedy], skill

    def truth(self) -> tuple[float, float]:
        """Return what candidate and baseline really earn."""
        rng = np.random.default_rng(99)
        _, log, candidate, baseline, skill = self.draw(rng, TRUTH_SAMPLE)
        if self.noise:  # clipping moves the mean of a graded reward
            skill = np.mean(
                [np.clip(skill + rng.normal(0, self.noise, skill.shape), 0, 1) for _ in range(8)], 0
            )
        assert len(log.rewards) == TRUTH_SAMPLE
        return float((candidate * skill).sum(1).mean()), float((baseline * skill).sum(1).mean())


WORLDS = [
    World(tasks=400, exploration=0.3, noise=None, agreement=0.5),
    World(tasks=400, exploration=0.1, noise=0.2, agreement=0.9),
    World(tasks=1500, exploration=0.1, noise=None, agreement=0.5),
    World(tasks=1500, exploration=0.05, noise=None, agreement=0.9),
    World(tasks=1500, exploration=0.02, noise=0.2, agreement=0.9),
    World(tasks=4000, exploration=0.1, noise=None, agreement=0.75),
]


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_intervals_cover_the_truth(world: World) -> None:
    rng = np.random.default_rng(0)
    truth, truth_of_baseline = world.truth()
    inside: dict[str, list[bool]] = {"ips": [], "snips": [], "dr": [], "lift": [], "snips lift": []}
    promoted_wrongly = 0
    for _ in range(REPETITIONS):
        features, log, candidate, baseline, _ = world.draw(rng, world.tasks)
        predicted = cross_fitted(log, features, MASTERS, folds=2)
        estimates = {
            "ips": (ips(log, candidate), truth),
            "snips": (snips(log, candidate), truth),
            "dr": (doubly_robust(log, candidate, predicted), truth),
            "lift": (lift(log, candidate, baseline, predicted), truth - truth_of_baseline),
            "snips lift": (lift(log, candidate, baseline), truth - truth_of_baseline),
        }
        for name, (estimate, right) in estimates.items():
            inside[name].append(estimate.low <= right <= estimate.high)
        # The baseline against the better candidate: what must not be promoted.
        back = lift(log, baseline, candidate, predicted)
        promoted_wrongly += verdict(snips(log, baseline), snips(log, candidate), back) == "better"
    shares = {name: float(np.mean(values)) for name, values in inside.items()}
    assert min(shares.values()) >= 0.90, shares
    assert promoted_wrongly <= 0.05 * REPETITIONS


def test_without_exploration_a_different_policy_is_too_thin_to_judge() -> None:
    rng = np.random.default_rng(1)
    world = World(tasks=2000, exploration=1e-9, noise=None, agreement=0.5)
    features, log, candidate, baseline, _ = world.draw(rng, 2000)
    predicted = cross_fitted(log, features, MASTERS)
    difference = lift(log, candidate, baseline, predicted)
    assert verdict(snips(log, candidate), snips(log, baseline), difference) == "too_thin"
    assert difference.low < -0.5 < 0.5 < difference.high
    assert verdict(snips(log, baseline), snips(log, baseline)) == "inconclusive"


def test_a_better_policy_is_found_better_and_a_worse_one_worse() -> None:
    world = World(tasks=4000, exploration=0.3, noise=None, agreement=0.0)
    features, log, candidate, baseline, _ = world.draw(np.random.default_rng(2), 4000)
    predicted = cross_fitted(log, features, MASTERS)
    better = lift(log, candidate, baseline, predicted)
    worse = lift(log, baseline, candidate, predicted)
    assert verdict(snips(log, candidate), snips(log, baseline), better) == "better"
    assert verdict(snips(log, baseline), snips(log, candidate), worse) == "worse"
    # The same tasks for both: far narrower than two estimates apart.
    apart = doubly_robust(log, candidate, predicted)
    assert better.high - better.low < apart.high - apart.low


def estimate(value: float, *, n: int = 1000, ess: float = 500.0, missing: float = 0.0) -> Estimate:
    return Estimate(
        value=value,
        low=value - 0.02,
        high=value + 0.02,
        ess=ess,
        n=n,
        method="snips",
        missing=missing,
    )


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (estimate(0.85), "better"),
        (estimate(0.75), "worse"),
        (estimate(0.81), "inconclusive"),
        (estimate(0.99, n=MIN_TASKS - 1), "too_thin"),
        (estimate(0.99, ess=MIN_ESS - 1), "too_thin"),
        (estimate(0.99, missing=3.5), "too_thin"),
    ],
)
def test_a_verdict_needs_enough_to_go_by(candidate: Estimate, expected: str) -> None:
    assert verdict(candidate, estimate(0.8)) == expected
    if expected == "too_thin":
        assert verdict(estimate(0.8), candidate) == expected


def test_a_difference_of_hardly_any_tasks_is_too_thin() -> None:
    thin = estimate(0.1, ess=MIN_APART - 0.5)
    assert verdict(estimate(0.85), estimate(0.75), thin) == "too_thin"
    assert verdict(estimate(0.85), estimate(0.75), estimate(0.1, ess=MIN_APART)) == "better"


def test_by_hand() -> None:
    log = Logged(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 1, 1, 0]), np.full(4, 0.5))
    target = np.array([[0.5, 0.5], [0.0, 1.0], [0.25, 0.75], [1.0, 0.0]])
    weights = [1.0, 2.0, 1.5, 2.0]
    assert log.weights(target).tolist() == weights
    assert ips(log, target).value == pytest.approx((1 + 1.5 + 2) / 4)
    assert ips(log, target, clip=1.5).value == pytest.approx((1 + 1.5 + 1.5) / 4)
    assert snips(log, target).value == pytest.approx(4.5 / 6.5)
    assert snips(log, target, clip=1.0).value == pytest.approx(3 / 4)
    assert snips(log, target).ess == pytest.approx(6.5**2 / (1 + 4 + 2.25 + 4))
    predicted = np.tile([0.5, 0.25], (4, 1))
    model = np.array([0.375, 0.25, 0.3125, 0.5])
    corrected = model + weights * np.array([0.5, -0.25, 0.75, 0.5])
    assert doubly_robust(log, target, predicted).value == pytest.approx(corrected.mean())
    switched = model + np.array([1.0, 0.0, 1.5, 0.0]) * np.array([0.5, -0.25, 0.75, 0.5])
    switching = doubly_robust(log, target, predicted, switch=1.5)
    assert switching.value == pytest.approx(switched.mean())


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 60), k=st.integers(1, 4))
@settings(max_examples=60)
def test_whatever_was_logged_an_estimate_is_sound(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(k), n)
    actions = (chances.cumsum(1) > rng.random((n, 1)) * chances.sum(1, keepdims=True)).argmax(1)
    rewards = rng.integers(0, 2, n).astype(float)
    log = Logged(rewards, actions, chances[np.arange(n), actions])
    targets = [np.eye(k)[rng.integers(0, k, n)], chances]
    predicted = rng.random((n, k))
    for target in targets:
        for each in (ips(log, target), snips(log, target), doubly_robust(log, target, predicted)):
            assert each.low <= each.high
            assert np.isfinite([each.value, each.low, each.high, each.ess]).all()
            assert each.ess <= n + 1e-9
    own = snips(log, chances)  # what was really done: the plain mean
    assert own.value == pytest.approx(rewards.mean())
    assert own.ess == pytest.approx(n)
    for model in (None, predicted):
        difference = lift(log, targets[0], chances, model)
        assert difference.low <= np.clip(difference.value, -1.0, 1.0) <= difference.high
        assert lift(log, chances, chances, model).value == 0.0


def test_two_arms_explore_where_they_disagree() -> None:
    rng = np.random.default_rng(3)
    n, share = 6000, 0.25
    skill = rng.uniform(0.2, 0.9, (n, 2))
    model, rules = skill.argmax(1), rng.integers(0, 2, n)
    actions = np.where(rng.random(n) < share, model, rules)
    rewards = (rng.random(n) < skill[np.arange(n), actions]).astype(float)
    propensities = mixture(share, (model == actions) * 1.0, (rules == actions) * 1.0)
    log = Logged(rewards, actions, propensities, least=share)
    found = snips(log, np.eye(2)[model])
    assert found.low <= skill.max(1).mean() <= found.high
    assert verdict(found, snips(log, np.eye(2)[rules])) == "better"


@pytest.mark.parametrize(
    ("rewards", "propensities", "least"),
    [
        ([1.0], [1.0], None),
        ([1.0, 2.0], [1.0, 1.0], None),
        ([1.0, float("nan")], [1.0, 1.0], None),
        ([1.0, 0.0], [0.0, 1.0], None),
        ([1.0, 0.0], [0.5, 1.5], None),
        ([1.0, 0.0], [0.5, 0.5], 0.6),
    ],
)
def test_a_log_that_makes_no_sense_is_refused(
    rewards: list[float], propensities: list[float], least: float | None
) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        Logged(np.array(rewards), np.zeros(len(rewards), int), np.array(propensities), least)


def test_a_target_that_is_no_distribution_is_refused() -> None:
    log = Logged(np.zeros(2), np.zeros(2, int), np.ones(2))
    with pytest.raises(ValueError, match="distribution"):
        snips(log, np.full((2, 2), 0.6))


def test_intervals_for_a_mean() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(5.0, 1.0, 4000)
    low, high = student(values, 0.95)
    assert (high - low) == pytest.approx(2 * 1.96 / 4000**0.5, rel=0.05)
    assert student(np.full(5, 0.3), 0.95) == pytest.approx((0.3, 0.3))
    # Betting holds where the only heavy value was not seen: 1 in 1000 is 900, the mean 0.9.
    inside = []
    for _ in range(100):
        rare = np.where(rng.random(300) < 0.001, 900.0, 0.0)
        low, high = betting(rare, 1000.0, 0.95)
        inside.append(low <= 0.9 <= high)
    assert np.mean(inside) >= 0.95
