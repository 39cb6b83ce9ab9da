"""A batch that is too much for a slow connection is settled in parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import redis

from streams.keys import Keys
from streams.pump import Pump

if TYPE_CHECKING:
    import pytest

LANE: Any = SimpleNamespace(keys=Keys(), consumer=SimpleNamespace(group="g", name="n"))
BATCH: Any = ["one settlement"]


def settle_with(settle: object, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("streams.pump.settle", settle)
    nobody: Any = None
    return Pump([], nobody)._settle(LANE, BATCH)


def test_after_each_time_out_less_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def slow(*_batch: object, at_once: int, **_whose: object) -> list[str]:
        sizes.append(at_once)
        if at_once > 32:
            raise redis.TimeoutError
        return ["settled"]

    assert settle_with(slow, monkeypatch) == ["settled"]
    assert sizes == [256, 128, 64, 32]


def test_other_trouble_does_not_make_parts_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def away(*_batch: object, at_once: int, **_whose: object) -> list[str]:
        sizes.append(at_once)
        if len(sizes) == 1:
            raise redis.ConnectionError
        return ["settled"]

    assert settle_with(away, monkeypatch) == ["settled"]
    assert sizes == [256, 256]
