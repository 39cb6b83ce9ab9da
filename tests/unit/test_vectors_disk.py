"""Turns on one machine: a courtesy that nobody waits for in vain."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from vectors.disk import in_turn

if TYPE_CHECKING:
    from pathlib import Path

LONG = 60.0


def test_one_works_after_another(tmp_path: Path) -> None:
    working, most = 0, 0

    def work() -> None:
        nonlocal working, most
        with in_turn(tmp_path, LONG):
            working += 1
            most = max(most, working)
            time.sleep(0.01)  # work
            working -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_has_waited_long_enough_goes_on_and_so_does_who_cannot_wait(tmp_path: Path) -> None:
    entered = []
    with in_turn(tmp_path, LONG):
        with in_turn(tmp_path, 0):
            entered.append("impatient")
        with in_turn(tmp_path / "nowhere", LONG):
            entered.append("no folder")
    assert entered == ["impatient", "no folder"]
    assert not list(tmp_path.iterdir())


def test_what_is_raised_in_a_turn_ends_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    for _ in range(2):
        with pytest.raises(PermissionError), in_turn(tmp_path, LONG):
            raise PermissionError
    assert time.monotonic() - begun < LONG / 2
