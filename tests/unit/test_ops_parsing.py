from __future__ import annotations

import pytest
import typer

from ops.monitor import parse_window
from ops.rollout_parsing import parse_fraction


@pytest.mark.parametrize(
    ("text", "fraction"), [("0", 0), ("1.0", 1), ("0.1", 0.1), ("10%", 0.1), ("12.5%", 0.125)]
)
def test_a_fraction(text: str, fraction: float) -> None:
    assert parse_fraction(text) == fraction


@pytest.mark.parametrize("text", ["", "%", "10", "-0.1", "101%", "nan", "inf", "a%", "1 0%"])
def test_not_a_fraction(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_fraction(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("1.5d", 129_600)]
)
def test_a_window(text: str, seconds: float) -> None:
    assert parse_window(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1 h", "1w", "1h30m"])
def test_not_a_window(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_window(text)
