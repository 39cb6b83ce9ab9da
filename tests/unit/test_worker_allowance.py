from __future__ import annotations

import pytest

from worker.allowance import Allowance


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_was_spent_comes_back_with_time(clock: Clock) -> None:
    allowance = Allowance(clock)
    assert allowance.is_left()
    with allowance.spend():
        clock.now += 0.1
    assert not allowance.is_left()
    clock.now += 8.0
    assert not allowance.is_left()
    clock.now += 2.0
    assert allowance.is_left()


def test_little_is_saved_up(clock: Clock) -> None:
    allowance = Allowance(clock)
    clock.now += 3_600
    assert allowance.is_left()
    with allowance.spend():
        clock.now += 0.02
    assert not allowance.is_left()


def test_what_fails_is_paid_for(clock: Clock) -> None:
    allowance = Allowance(clock)

    def fail() -> None:
        with allowance.spend():
            clock.now += 0.5
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not allowance.is_left()
