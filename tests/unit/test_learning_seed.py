"""The seed examples: what the first model learns from, before there are outcomes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import learning
import router
from learning.examples import Example, read_examples
from router.masters import Masters

PER_MASTER = 1_500


def normalised(text: str) -> str:
    """Words and digits alone, in lower case."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return read_examples(Path(learning.__file__).parent / "seed" / "examples.jsonl")


@pytest.fixture(scope="module")
def masters() -> tuple[str, ...]:
    text = (Path(router.__file__).parent / "masters.toml").read_text("utf-8")
    return Masters.parse(text).names


def test_every_master_has_examples_and_nobody_else(
    examples: list[Example], masters: tuple[str, ...]
) -> None:
    counts = Counter(example.label for example in examples)
    assert set(counts) == set(masters)
    assert min(counts.values()) >= PER_MASTER
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_no_line_stands_twice(examples: list[Example]) -> None:
    counts = Counter(normalised(example.text) for example in examples)
    assert [text for text, count in counts.items() if count > 1] == []
    assert "" not in counts


def test_lines_are_short_and_long_for_every_master(
    examples: list[Example], masters: tuple[str, ...]
) -> None:
    for master in masters:
        words = np.array([len(each.text.split()) for each in examples if each.label == master])
        assert np.mean(words <= 4) > 0.1, master
        assert np.mean((words > 4) & (words <= 8)) > 0.3, master
        assert np.mean(words > 10) > 0.01, master
        assert words.max() >= 15, master


def test_no_beginning_is_a_template(examples: list[Example]) -> None:
    beginnings = Counter(" ".join(normalised(each.text).split()[:3]) for each in examples)
    assert beginnings.most_common(1)[0][1] <= 6


def test_no_line_is_one_of_the_masters_own_examples(examples: list[Example]) -> None:
    text = (Path(router.__file__).parent / "masters.toml").read_text("utf-8")
    own = {normalised(each) for master in Masters.parse(text).all for each in master.examples}
    assert own.isdisjoint(normalised(example.text) for example in examples)
