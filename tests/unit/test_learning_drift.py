from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from learning.drift import (
    Settings,
    Window,
    compare,
    distance,
    holm,
    mean_shift,
    new_words,
    shares,
    stability,
)

DIM = 16
VOCABULARY = np.array([f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst"])
FREQUENCY = 1 / np.arange(1, len(VOCABULARY) + 1)
NAMES = ("a", "b", "c", "d", "rare")


class Days(NamedTuple):
    """How a system is; every field is a way in which it can drift."""

    shift: float = 0.0
    foreign: float = 0.0
    confident: float = 4.0
    masters: tuple[float, ...] = (0.4, 0.3, 0.2, 0.09, 0.01)
    fallback: float = 0.1
    context: float = 0.8


QUIET = Days()


class World:
    """A system that is watched."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.topics = self.rng.normal(size=(5, DIM))

    def window(self, n: int, days: Days = QUIET) -> Window:
        rng = self.rng
        went = rng.choice(5, n, p=days.masters)
        embeddings = self.topics[went] + rng.normal(size=(n, DIM)) + days.shift
        words = rng.choice(VOCABULARY, (n, 11), p=FREQUENCY / FREQUENCY.sum())
        words = np.where(rng.random((n, 11)) < days.foreign, np.strings.add("neu", words), words)
        return Window(
            texts=[
                " ".join(row[:length])
                for row, length in zip(words, rng.integers(1, 12, n), strict=True)
            ],
            confidences=np.round(rng.beta(days.confident, 2, n), 2),
            masters=[NAMES[index] for index in went],
            embeddings=embeddings.astype(np.float32),
            fell_back=rng.random(n // 2) < days.fallback,
            context_found=rng.random(n) < days.context,
        )


def test_a_quiet_system_raises_an_alarm_on_no_more_days_than_stated() -> None:
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
    reports = [compare(world.window(240), world.window(100), every_size) for _ in range(days)]
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
    report = compare(world.window(1_000), world.window(400, drift), Settings())
    found = {aspect.name for aspect in report.drifted}
    # Other masters' tasks are other tasks.
    assert found - {"inputs"} == {seen} - {"inputs"}
    assert seen in found


def test_the_smallest_change_is_significant_in_many_tasks_and_yet_none() -> None:
    world = World(2)
    report = compare(
        world.window(10_000), world.window(10_000, Days(context=0.77)), Settings(resamples=199)
    )
    (context,) = [aspect for aspect in report.aspects if aspect.name == "context"]
    assert context.p_value < 0.01
    assert context.effect == pytest.approx(0.03, abs=0.015)
    assert report.drifted == []


def test_of_what_there_is_too_little_nothing_is_said() -> None:
    world = World(3)
    bare = world.window(300)._replace(embeddings=None, fell_back=np.zeros(3, bool))
    report = compare(bare, world.window(300), Settings(resamples=99))
    assert set(report.untested) == {"inputs", "fallbacks"}
    assert len(report.aspects) == 4
    nothing = compare(bare, world.window(20), Settings())
    assert (nothing.aspects, len(nothing.untested)) == ([], 6)


def test_the_same_windows_give_the_same_report() -> None:
    before, after = World(4).window(300), World(5).window(300, Days(foreign=0.05))
    assert compare(before, after, Settings(resamples=99)) == compare(
        before, after, Settings(resamples=99)
    )


def test_new_words_are_named_with_the_tasks_they_stand_in() -> None:
    before = World(6).window(200)
    after = World(7).window(200)
    texts = [*after.texts[:150], *(f"Zebra zebra {text}" for text in after.texts[150:])]
    report = compare(before, after._replace(texts=texts), Settings(resamples=99))
    assert next(iter(report.new_words.items())) == ("zebra", 50)


def test_words_of_every_day_are_no_drift_though_the_vocabulary_lacks_some() -> None:
    rng = np.random.default_rng(8)
    texts = [f"common word {number}{'xyz'[number % 3]}abc q{number:b}" for number in range(600)]
    unique = [f"the {''.join(chr(97 + int(d)) for d in str(i))}word" for i in range(600)]
    for lines in (texts, unique):
        assert new_words(lines[:300], lines[300:], 199, rng).p_value > 0.01


def test_the_mean_shift_is_in_standard_deviations() -> None:
    rng = np.random.default_rng(9)
    before = rng.normal(size=(4_000, 8)).astype(np.float32)
    step = np.zeros(8, np.float32)
    step[0] = 1.0
    found = mean_shift(before, rng.normal(size=(4_000, 8)).astype(np.float32) + step, 199, rng)
    # The pooled variance counts that within the windows: 8, and the step is 1.
    assert found.effect == pytest.approx(1 / np.sqrt(8), rel=0.05)
    assert found.p_value == pytest.approx(1 / 200)


def test_what_never_changes_has_no_drift() -> None:
    rng = np.random.default_rng(10)
    same = np.ones((150, 4), np.float32)
    assert mean_shift(same, same, 99, rng).effect == 0
    assert new_words(["one"] * 150, ["one"] * 150, 99, rng) == (1.0, 0.0)
    assert stability(["a"] * 150, ["a"] * 150, 99, rng) == (1.0, 0.0)
    assert distance(np.ones(150), np.ones(150)) == (1.0, 0.0)
    assert shares(np.zeros(150, bool), np.zeros(150, bool)) == (1.0, 0.0)


def test_a_master_that_appears_makes_the_index_large_and_not_infinite() -> None:
    rng = np.random.default_rng(11)
    found = stability(["a"] * 200, ["a"] * 150 + ["b"] * 50, 999, rng)
    assert found.p_value == pytest.approx(1 / 1_000)
    assert 0.5 < found.effect < 3


def test_holm_adjusts_as_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
