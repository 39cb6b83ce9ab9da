from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from learning.drift import Settings, Window, compare
from learning.two_sample import (
    Chance,
    Grouped,
    Measured,
    distance,
    holm,
    mean_shift,
    new_words,
    shares,
    stability,
)

DIM = 16
VOCABULARY = np.array([f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst"])
LETTERS = tuple("abcdefghijklmnopqrst")
FREQUENCY = 1 / np.arange(1, len(VOCABULARY) + 1)
NAMES = ("a", "b", "c", "d", "rare")


class Days(NamedTuple):
    """How a system is; every field but `bursts` is a way in which it can drift."""

    shift: float = 0.0
    foreign: float = 0.0
    confident: float = 4.0
    masters: tuple[float, ...] = (0.4, 0.3, 0.2, 0.09, 0.01)
    fallback: float = 0.1
    context: float = 0.8
    bursts: bool = False


QUIET = Days()
BUSY = Days(bursts=True)


class World:
    """A system that is watched. In bursts, much of an hour's work is of one kind."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.topics = self.rng.normal(size=(5, DIM))

    def window(self, hours: int, days: Days = QUIET, per_hour: int = 10) -> Window:
        rng, n = self.rng, hours * per_hour
        blocks = np.repeat(np.arange(hours), per_hour)
        went = rng.choice(5, n, p=days.masters)
        failing = np.zeros(n)
        if days.bursts:
            of_hour = rng.choice(5, hours, p=days.masters)[blocks]
            went = np.where(rng.random(n) < 0.5, of_hour, went)
            failing = 0.5 * (rng.random(hours) < 0.2)[blocks]
        embeddings = self.topics[went] + rng.normal(size=(n, DIM)) + days.shift
        words = rng.choice(VOCABULARY, (n, 11), p=FREQUENCY / FREQUENCY.sum())
        if days.bursts:  # each hour has a subject of its own, with words that are heard only then
            subject = np.array([f"subject{''.join(rng.choice(LETTERS, 6))}" for _ in range(hours)])
            words[:, 0] = np.where(rng.random(n) < 0.5, subject[blocks], words[:, 0])
        words = np.where(rng.random((n, 11)) < days.foreign, np.strings.add("neu", words), words)
        return Window(
            hours=blocks,
            texts=[
                " ".join(row[:length])
                for row, length in zip(words, rng.integers(1, 12, n), strict=True)
            ],
            confidences=np.round(rng.beta(days.confident, 2, n) * (1 - failing), 2),
            masters=[NAMES[index] for index in went],
            embedded=np.arange(n),
            embeddings=embeddings.astype(np.float32),
            treated=rng.random(n) < 0.5,
            fell_back=rng.random(n) < days.fallback + failing,
            sought=np.ones(n, np.bool_),
            context_found=rng.random(n) < days.context - failing,
        )


@pytest.mark.parametrize("days_are", [QUIET, BUSY])
def test_a_quiet_system_raises_an_alarm_on_no_more_days_than_stated(days_are: Days) -> None:
    days, alpha = 200, 0.05
    every_size = Settings(
        alpha=alpha,
        least=40,
        resamples=149,
        mean_shift=0.0,
        new_words=0.0,
        confidence=0.0,
        masters=0.0,
        share=0.0,
    )
    world = World(0)
    reports = [
        compare(world.window(48, days_are), world.window(16, days_are), every_size)
        for _ in range(days)
    ]
    assert all(len(report.aspects) == 6 for report in reports)
    alarms = sum(bool(report.drifted) for report in reports)
    # Above that, a share of `alpha` would be a chance of 1 in 1,000.
    assert alarms <= stats.binom.ppf(0.999, days, alpha)
    assert alarms > 0, "tests so quiet that they cannot have worked"


@pytest.mark.parametrize(
    ("drift", "seen"),
    [
        (Days(shift=0.3), "inputs"),
        (Days(foreign=0.15), "new-words"),
        (Days(confident=2.0), "confidence"),
        (Days(masters=(0.1, 0.3, 0.2, 0.3, 0.1)), "masters"),
        (Days(fallback=0.35), "fallbacks"),
        (Days(context=0.5), "context"),
    ],
)
def test_each_drift_is_seen_where_it_is(drift: Days, seen: str) -> None:
    world = World(1)
    report = compare(world.window(144), world.window(24, drift, 20), Settings())
    found = {aspect.name for aspect in report.drifted}
    # Other masters' tasks are other tasks.
    assert found - {"inputs"} == {seen} - {"inputs"}
    assert seen in found


def test_the_smallest_change_is_significant_in_many_tasks_and_yet_none() -> None:
    world = World(2)
    report = compare(
        world.window(48, QUIET, 200),
        world.window(48, Days(context=0.77), 200),
        Settings(resamples=999),
    )
    (context,) = [aspect for aspect in report.aspects if aspect.name == "context"]
    assert context.p_value < 0.01
    assert context.effect == pytest.approx(0.03, abs=0.015)
    assert report.drifted == []


def test_of_what_there_is_too_little_nothing_is_said() -> None:
    world = World(3)
    whole = world.window(30)
    bare = whole._replace(embeddings=None, treated=np.arange(300) < 3)
    report = compare(bare, world.window(30), Settings(resamples=99))
    assert set(report.untested) == {"inputs", "fallbacks"}
    assert len(report.aspects) == 4
    for little in (world.window(2), world.window(3, QUIET, 100)):
        nothing = compare(whole, little, Settings())
        assert (nothing.aspects, len(nothing.untested)) == ([], 6)


def test_the_same_windows_give_the_same_report() -> None:
    before, after = World(4).window(30), World(5).window(30, Days(foreign=0.05))
    assert compare(before, after, Settings(resamples=99)) == compare(
        before, after, Settings(resamples=99)
    )


def test_new_words_are_named_with_the_tasks_they_stand_in() -> None:
    before, after = World(6).window(20), World(7).window(20)
    texts = [*after.texts[:150], *(f"Zebra zebra {text}" for text in after.texts[150:])]
    report = compare(before, after._replace(texts=texts), Settings(resamples=99))
    assert next(iter(report.new_words.items())) == ("zebra", 50)


def chance(resamples: int = 99) -> Chance:
    return Chance(resamples, np.random.default_rng(9))


def hourly(rows: object, hours: int = 20) -> Grouped:
    """What came in equally many hours, each after the other."""
    n = len(rows)  # type: ignore[arg-type] # what it is, tests vary
    return Grouped(rows, np.arange(n) * hours // n)


def test_names_that_are_new_every_time_are_no_drift() -> None:
    unique = [f"the {''.join(LETTERS[int(digit)] for digit in f'{i:04}')} ends" for i in range(600)]
    found = new_words(hourly(unique[:300]), hourly(unique[300:]), chance())
    assert found.p_value > 0.05
    assert found.effect < 0.01


def test_the_mean_shift_is_in_standard_deviations() -> None:
    rng = np.random.default_rng(9)
    before = rng.normal(size=(4_000, 8)).astype(np.float32)
    step = np.zeros(8, np.float32)
    step[0] = 1.0
    after = rng.normal(size=(4_000, 8)).astype(np.float32) + step
    found = mean_shift(hourly(before), hourly(after), chance(199))
    # The pooled variance counts that within the windows: 8, and the step is 1.
    assert found.effect == pytest.approx(1 / np.sqrt(8), rel=0.05)
    assert found.p_value == pytest.approx(1 / 200)


def test_the_distance_of_distributions_is_that_of_kolmogorov_and_smirnov() -> None:
    rng = np.random.default_rng(10)
    before, after = np.floor(rng.beta(4, 2, 500) * 100) / 100, np.floor(rng.random(400) * 100) / 100
    found = distance(hourly(before + 0.005), hourly(after + 0.005), chance())
    assert found.effect == pytest.approx(stats.ks_2samp(before, after).statistic)


def test_where_every_hour_is_one_decision_p_values_are_those_of_independent_ones() -> None:
    rng = np.random.default_rng(12)
    before, after = rng.random(150) < 0.5, rng.random(150) < 0.65
    alone = [Grouped(side, np.arange(150)) for side in (before, after)]
    expected = stats.fisher_exact([[side.sum(), (~side).sum()] for side in (before, after)]).pvalue
    found = shares(*alone, chance(9_999))
    assert found.p_value == pytest.approx(expected, rel=0.2)
    assert found.effect == pytest.approx(after.mean() - before.mean())


def test_what_never_changes_has_no_drift() -> None:
    same = hourly(np.ones((150, 4), np.float32))
    assert mean_shift(same, same, chance()).effect == 0
    for test, rows in (
        (new_words, ["one"] * 150),
        (stability, ["a"] * 150),
        (distance, np.ones(150)),
        (shares, np.zeros(150, bool)),
    ):
        assert test(hourly(rows), hourly(rows), chance()) == Measured(1.0, 0.0)


def test_a_master_that_appears_makes_the_index_large_and_not_infinite() -> None:
    found = stability(hourly(["a"] * 200), hourly(["a", "a", "a", "b"] * 50), chance(999))
    assert found.p_value == pytest.approx(1 / 1_000)
    assert 0.5 < found.effect < 3


def test_holm_adjusts_as_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
