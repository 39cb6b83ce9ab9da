"""What the statistics of a rollout are worth: false alarms, and how long the truth takes to show.

`python -m bench.sequential` prints the tables of docs/rollout.md, "Statistics". Everything is
simulated, with fixed seeds; peeking never stops before the end of a run.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from rollout.statistics.failures import FailureMonitor, LimitMonitor, rate_sequence
from rollout.statistics.planning import Scenario, outcomes_until
from rollout.statistics.sample_ratio import SampleRatioMonitor, sample_ratio
from rollout.statistics.sequences import BEST_AT, effect_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Monitor: TypeAlias = "SampleRatioMonitor | FailureMonitor | LimitMonitor | Multinomial"
    Update = Callable[[int, float, int, int], bool]

ALPHA = 0.05
STAGES = (0.1, 0.25, 0.5, 0.75)
LOOK_EVERY = 100
OUTCOMES = 20_000


class Alarms(NamedTuple):
    """Shares of runs in which the lower end was ever above the truth, and the upper ever below."""

    better: float
    harm: float


def stages(n: int) -> Floats:
    """Shares of treatment along a rollout whose stages are equally long."""
    return np.repeat(STAGES, n // len(STAGES))


def effects_aa(
    rates: Floats | float, share: Floats | float, runs: int, best_at: float = BEST_AT
) -> Alarms:
    """A/A runs of `OUTCOMES` outcomes, looked at after each."""
    n = OUTCOMES
    rng = np.random.default_rng(0)
    batch = max(1, 1_000_000 // n)
    above = below = 0
    for _ in range(0, runs, batch):
        treated = rng.random((batch, n)) < share
        low, high = effect_path(treated, rng.random((batch, n)) < rates, share).interval(
            ALPHA, best_at
        )
        above += int((low > 0).any(axis=1).sum())
        below += int((high < 0).any(axis=1).sum())
    total = math.ceil(runs / batch) * batch
    return Alarms(above / total, below / total)


class Multinomial(NamedTuple):
    """`sample_ratio` of two arms as a monitor, to compare with."""

    concentration: float
    peak: float = 0.0
    treated: int = 0
    n: int = 0

    def update(self, treated: int, expected: float, n: int) -> Multinomial:
        counts = self.treated + treated, self.n + n - self.treated - treated
        evidence = sample_ratio(counts, (expected, 1 - expected), self.concentration)
        return Multinomial(self.concentration, max(self.peak, evidence), counts[0], self.n + n)

    @property
    def p_value(self) -> float:
        return math.exp(-self.peak)


class Watched(NamedTuple):
    """Tosses whose chance of a hit is not the expected one, looked at after so many."""

    true: float
    expected: float
    every: int = LOOK_EVERY
    alpha: float = 0.01


def lost(share: float, of_treatment: float) -> Watched:
    left = share * (1 - of_treatment)
    return Watched(left / (left + 1 - share), share)


def until(start: Callable[[], Monitor], watched: Watched, runs: int, at_most: int) -> Floats:
    """Tosses until the expected chance is refuted; inf if it is not."""
    true, expected, every, alpha = watched
    looks = np.random.default_rng(0).binomial(every, true, (runs, at_most // every))

    def first(row: Iterable[int]) -> float:
        monitor = start()
        for number, hits in enumerate(row, 1):
            monitor = monitor.update(int(hits), expected, every)
            if monitor.p_value <= alpha:
                return number * every
        return math.inf

    return np.array([first(row) for row in looks])


def counts_aa(update: Callable[[int, float, int, int], bool], chances: Floats, runs: int) -> float:
    """Share of runs in which `update` (run, chance, hits, of how many) ever says so."""
    rng = np.random.default_rng(0)
    hits = rng.binomial(LOOK_EVERY, chances, (runs, len(chances)))
    alarms = 0
    for run, row in enumerate(hits):
        alarms += any(
            update(run, float(p), int(k), LOOK_EVERY) for p, k in zip(chances, row, strict=True)
        )
    return alarms / runs


def tested(start: Callable[[], Monitor], runs: int) -> Update:
    monitors = [start() for _ in range(runs)]

    def update(run: int, chance: float, hits: int, n: int) -> bool:
        monitors[run] = monitors[run].update(hits, chance, n)
        return monitors[run].p_value <= ALPHA

    return update


def covered(runs: int) -> Update:
    seen = [(0, 0)] * runs

    def update(run: int, chance: float, hits: int, n: int) -> bool:
        count, total = seen[run] = seen[run][0] + hits, seen[run][1] + n
        low, high = rate_sequence(count, total, alpha=ALPHA)
        return not low <= chance <= high

    return update


def _share(value: float, runs: int) -> str:
    return f"{100 * value:.1f} % ± {100 * 1.96 * math.sqrt(value * (1 - value) / runs):.1f}"


def _quantiles(values: Floats) -> str:
    middle, most = np.quantile(values, (0.5, 0.95), method="higher")
    return f"{middle:,.0f} | {most:,.0f}" if np.isfinite(most) else f"{middle:,.0f} | -"


def _effects(runs: int) -> None:
    print(f"\nA/A runs of {OUTCOMES:,} outcomes, level {ALPHA:.0%}, looked at after each\n")
    print("| success | share treated | ever `better` | ever `harm` |\n|---|---|---|---|")
    for rate in (0.5, 0.8, 0.95, 0.99):
        for share in (0.1, 0.25, 0.5):
            _wrong(f"| {rate} | {share}", effects_aa(rate, share, runs), runs)
    for first, last in ((0.95, 0.6), (0.6, 0.95)):
        alarms = effects_aa(np.linspace(first, last, OUTCOMES), stages(OUTCOMES), runs)
        _wrong(f"| {first} to {last} | .1, .25, .5, .75 in turn", alarms, runs)
    print(
        "\nTuning, success .8, share .1\n\n| best at | ever `better` | ever `harm` |\n|---|---|---|"
    )
    for best_at in (30, 100, 300, 500, 1_000):
        _wrong(f"| {best_at}", effects_aa(0.8, 0.1, runs, best_at), runs)


def _wrong(row: str, alarms: Alarms, runs: int) -> None:
    print(f"{row} | {_share(alarms.better, runs)} | {_share(alarms.harm, runs)} |", flush=True)


def _counts(runs: int) -> None:
    print(f"\nA/A runs of 20,000 units, level {ALPHA:.0%}, looked at after every {LOOK_EVERY}\n")
    print("| test | false alarms |\n|---|---|")

    looks = 20_000 // LOOK_EVERY
    for name, test, chances in (
        ("sample ratio, share .1", tested(SampleRatioMonitor, runs), np.full(looks, 0.1)),
        ("sample ratio, share .5", tested(SampleRatioMonitor, runs), np.full(looks, 0.5)),
        ("sample ratio, shares .1, .25, .5, .75", tested(SampleRatioMonitor, runs), stages(looks)),
        ("failures, share .1", tested(FailureMonitor, runs), np.full(looks, 0.1)),
        ("failures, shares .1, .25, .5, .75", tested(FailureMonitor, runs), stages(looks)),
        ("limit 1 %, just kept", tested(LimitMonitor, runs), np.full(looks, 0.01)),
        ("rate, 2 %", covered(runs), np.full(looks, 0.02)),
        ("rate, 80 %", covered(runs), np.full(looks, 0.8)),
    ):
        print(f"| {name} | {_share(counts_aa(test, chances, runs), runs)} |")


def _harms(runs: int) -> None:
    print(f"\nOutcomes of both arms until the interval (level {ALPHA:.0%}) is below 0\n")
    print("| rules | model | share treated | median | 95 % |\n|---|---|---|---|---|")
    for model, at_most in ((0.6, 10_000), (0.7, 20_000), (0.75, 50_000)):
        for share in (0.1, 0.25, 0.5):
            taken = outcomes_until(
                Scenario(0.8, model, share), alpha=ALPHA, runs=runs, at_most=at_most
            )
            print(f"| .8 | {model} | {share} | {_quantiles(taken)} |")
    print("\nOutcomes until an equally good model is known to be no worse than the margin\n")
    print("| both | margin | share treated | median | 95 % |\n|---|---|---|---|---|")
    for margin, at_most in ((0.1, 20_000), (0.05, 60_000), (0.02, 200_000)):
        for share in (0.1, 0.25, 0.5):
            taken = outcomes_until(
                Scenario(0.8, 0.8, share),
                alpha=ALPHA,
                margin=margin,
                runs=runs // 5,
                at_most=at_most,
                look_every=10,
            )
            print(f"| .8 | {margin} | {share} | {_quantiles(taken)} |")


def _mismatches(runs: int) -> None:
    print("\nUnits until a mismatch is flagged at 1 %, looked at after every 100\n")
    print("| treatment lost | share treated | median | 95 % |\n|---|---|---|---|")
    for of_treatment, at_most in ((0.01, 3_000_000), (0.05, 400_000), (0.2, 40_000)):
        for share in (0.1, 0.5):
            few = runs // 5 if of_treatment > 0.01 else runs // 50
            taken = until(SampleRatioMonitor, lost(share, of_treatment), few, at_most)
            print(f"| {of_treatment:.0%} | {share} | {_quantiles(taken)} |", flush=True)
    for concentration in (100.0, 1_000.0, 10_000.0):
        for share in (0.1, 0.5):
            start = partial(Multinomial, concentration)
            taken = until(start, lost(share, 0.05), runs // 5, 400_000)
            row = f"| 5%, Dirichlet({concentration:,.0f}) | {share} | {_quantiles(taken)} |"
            print(row, flush=True)


def _failures(runs: int) -> None:
    print("\nFailures of both arms until treatment's are too many at 1 %\n")
    print("| times as many | share treated | median | 95 % |\n|---|---|---|---|")
    for ratio, at_most in ((1.5, 5_000), (2, 2_000), (5, 1_000)):
        for share in (0.1, 0.5):
            watched = Watched(ratio * share / (ratio * share + 1 - share), share, every=1)
            taken = until(FailureMonitor, watched, runs, at_most)
            print(f"| {ratio} | {share} | {_quantiles(taken)} |", flush=True)
    print("\nTasks until a limit is known to be exceeded at 1 %\n")
    print("| limit | true | median | 95 % |\n|---|---|---|---|")
    for limit, true in ((0.01, 0.02), (0.01, 0.05), (0.05, 0.1)):
        taken = until(LimitMonitor, Watched(true, limit, every=10), runs, 10_000)
        print(f"| {limit} | {true} | {_quantiles(taken)} |", flush=True)


PARTS = {
    "effects": _effects,
    "counts": _counts,
    "harms": _harms,
    "mismatches": _mismatches,
    "failures": _failures,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.only in {None, name}:
            part(options.runs)


if __name__ == "__main__":
    main()
