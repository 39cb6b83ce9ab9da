"""docs/guarantees.md names every row of the matrix, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from chaos.rows import ROWS

TEXT = Path("docs/guarantees.md").read_text()
PROMISES = TEXT.partition("## The promises")[2].partition("## The matrix")[0]


def test_every_promise_is_shown_by_rows_that_exist_and_every_row_shows_one() -> None:
    rows = {row.name for row in ROWS}
    named = set(re.findall(r"`([a-z0-9-]+)`", PROMISES))
    assert rows - named == set()
    hyphenated = {name for name in named if "-" in name}
    assert hyphenated - rows == {"min-replicas-max-lag"}


def test_the_table_is_of_every_row_and_nothing_was_lost_or_doubled() -> None:
    table = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in TEXT.partition("## The matrix")[2].splitlines()
        if line.startswith("| ")
    ]
    counts = {name: (lost, doubled) for name, _, lost, doubled, *_ in table[2:]}
    assert counts.keys() == {row.name for row in ROWS}
    assert set(counts.values()) == {("0", "0")}
