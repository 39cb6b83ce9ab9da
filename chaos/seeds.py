"""Seeds that ever failed (`chaos/seeds.txt`): played again first, for ever."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).with_name("seeds.txt")


def remembered(name: str) -> list[int]:
    """The seeds of a row of the matrix, or of `simulation`, that failed once."""
    lines = (line.partition("#")[0].split() for line in _FILE.read_text().splitlines())
    return [int(words[1]) for words in lines if words and words[0] == name]
