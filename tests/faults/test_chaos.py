"""The bounded part of the fault matrix: every row once, smaller, and what ever failed again."""

from __future__ import annotations

import random

import pytest

from chaos.matrix import Row, play
from chaos.rows import ROWS
from chaos.seeds import remembered

PLAYED = [(row, seed) for row in ROWS if row.bounded for seed in [None, *remembered(row.name)]]


@pytest.mark.parametrize(("row", "seed"), PLAYED, ids=lambda each: getattr(each, "name", each))
def test_what_was_promised_holds_under(row: Row, seed: int | None) -> None:
    seed = random.randrange(2**32) if seed is None else seed
    played = play(row, seed, full=False)
    again = f"python -m chaos --bounded --row {row.name} --seed {seed}"
    said = "\n".join(played.result.violations)
    assert played.result.passed, f"{row.promise}\n{played.result}\n{said}\nagain: {again}"
