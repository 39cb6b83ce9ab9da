from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from worker.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 0.1


class Part:
    """Hangs until told otherwise, or fails."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.well = True

    def hang(self) -> str:
        self.free.wait(30)
        return "late"

    def probe(self) -> None:
        if not self.well:
            raise RuntimeError("still ill")


@pytest.fixture
def part() -> Iterator[Part]:
    made = Part()
    yield made
    made.well = True
    made.free.set()


@pytest.fixture
def guard(part: Part) -> Iterator[Guard]:
    made = Guard("part", part.probe, PATIENCE)
    yield made
    made.close()


def fail() -> str:
    raise ValueError("broken")


def test_an_answer_is_passed_on(guard: Guard) -> None:
    assert guard.call(lambda: 42) == 42


def test_errors_are_said_once_and_every_call_is_tried(guard: Guard) -> None:
    with capture_logs() as logs:
        assert [guard.call(fail) for _ in range(3)] == [None] * 3
        assert guard.call(lambda: "fine") == "fine"
    assert [(line["event"], line["part"], line["error"]) for line in logs] == [
        ("in trouble", "part", "broken")
    ]


def test_a_time_out_raised_by_the_work_is_an_error_like_any_other(guard: Guard) -> None:
    def time_out() -> None:
        raise TimeoutError("of the disk")

    assert guard.call(time_out) is None
    assert guard.call(lambda: "fine") == "fine"


def test_a_hang_costs_one_time_out_until_a_probe_is_answered(
    guard: Guard, part: Part, eventually: Callable[..., None]
) -> None:
    threads = threading.active_count()
    part.well = False
    with capture_logs() as logs:
        assert guard.call(part.hang) is None
        begun = time.monotonic()
        assert [guard.call(lambda: "unasked") for _ in range(1000)] == [None] * 1000
        assert time.monotonic() - begun < 1000 * PATIENCE / 10
        part.free.set()
        assert guard.call(lambda: "still refused") is None
        part.well = True
        eventually(lambda: guard.call(lambda: "fine") == "fine")
    assert threading.active_count() <= threads
    assert [line["event"] for line in logs] == ["in trouble"]
    assert "0.1 s" in logs[0]["error"]


def test_a_slow_probe_is_no_answer(part: Part, eventually: Callable[..., None]) -> None:
    asked = []

    def probe() -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            time.sleep(2 * PATIENCE)

    guard = Guard("part", probe, PATIENCE)
    assert guard.call(part.hang) is None
    part.free.set()
    eventually(lambda: guard.call(lambda: "fine") == "fine")
    assert len(asked) == 2
    guard.close()


def test_closing_ends_the_thread_even_while_the_part_is_ill(
    part: Part, eventually: Callable[..., None]
) -> None:
    before = set(threading.enumerate())
    guard = Guard("closing", part.probe, PATIENCE)
    part.well = False
    assert guard.call(part.hang) is None
    part.free.set()
    guard.close()
    eventually(lambda: set(threading.enumerate()) <= before)
