"""How many outcomes it takes until the effect of a treatment is known, by simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.statistics.sequences import BEST_AT, effect_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollout.statistics.sequences import Path

    Floats = NDArray[np.float64]

_BATCH = 500_000  # outcomes simulated at once: some 100 MB


class Scenario(NamedTuple):
    """What is supposed to be true.

    Attributes:
        control: share of tasks at which control succeeds, 0-1.
        treatment: likewise of treatment.
        share: chance of treatment, above 0 and below 1.
    """

    control: float
    treatment: float
    share: float


def outcomes_until(  # noqa: PLR0913 - a scenario and how it is watched
    scenario: Scenario,
    *,
    alpha: float,
    margin: float | None = None,
    best_at: float = BEST_AT,
    look_every: int = 1,
    at_most: int = 10_000,
    runs: int = 1_000,
    seed: int = 0,
) -> Floats:
    """Return outcomes of both arms until `EffectMonitor` knows, in each of `runs` simulations.

    Args:
        scenario: what is simulated; rewards are 0 or 1.
        alpha: of the interval, both sides together, 0-1.
        margin: None: until the interval is below 0 (harm). Otherwise until it is above `-margin`
            (no harm worth the name), 0-1.
        best_at: as `EffectMonitor.interval` takes it.
        look_every: outcomes between two looks.
        at_most: outcomes after which a simulation ends undecided.
        runs: simulations.
        seed: of the random numbers.

    Returns:
        Shape (runs,), inf where it stayed undecided.
    """
    rng = np.random.default_rng(seed)
    batch = max(1, _BATCH // at_most)
    found = []
    for done in range(0, runs, batch):
        path = _simulated(rng, scenario, min(batch, runs - done), at_most)
        low, high = path.interval(alpha, best_at)
        known = high < 0.0 if margin is None else low > -margin
        looks = known[:, look_every - 1 :: look_every]
        first = (looks.argmax(axis=1) + 1.0) * look_every
        found.append(np.where(looks.any(axis=1), first, np.inf))
    return np.concatenate(found)


def _simulated(rng: np.random.Generator, scenario: Scenario, runs: int, outcomes: int) -> Path:
    treated = rng.random((runs, outcomes)) < scenario.share
    succeeds = np.where(treated, scenario.treatment, scenario.control)
    reward = rng.random((runs, outcomes)) < succeeds
    return effect_path(treated, reward, scenario.share)
