"""Arithmetic that searches share: groups of rows, the best of long rows, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
from corpus import DIM, put, vector
from hypothesis import given
from hypothesis import strategies as st

from vectors import words
from vectors.collection import Collection
from vectors.groups import Groups
from vectors.similarity import highest
from vectors.view import Kept

grouped = st.lists(
    st.lists(st.integers(-1, 100_000), min_size=1, max_size=9), min_size=1, max_size=9
)


@given(grouped, st.integers(1, 12))
def test_the_kth_highest_of_each_group(groups: list[list[int]], k: int) -> None:
    values = np.array([value for group in groups for value in group], np.int64)
    keys = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    found = Groups.of(keys).kth_highest(values, k)
    assert found.tolist() == [
        sorted(group, reverse=True)[min(k, len(group)) - 1] for group in groups
    ]
    assert Groups.of(keys).highest(values).tolist() == [max(group) for group in groups]


@given(grouped)
def test_groups_by_row_and_by_table(groups: list[list[int]]) -> None:
    values = np.array([value for group in groups for value in group], np.int64)
    of = Groups.of(np.repeat(np.arange(len(groups)), [len(group) for group in groups]))
    widest = max(len(group) for group in groups)
    assert of.table(values, -7).tolist() == [
        group + [-7] * (widest - len(group)) for group in groups
    ]
    leading = [at == group.index(max(group)) for group in groups for at in range(len(group))]
    assert of.is_leading(values).tolist() == leading


@given(st.integers(0, 5_000), st.integers(1, 40), st.integers(1, 300), st.integers(0, 9))
def test_the_highest_scores_of_a_row_the_first_of_equals(
    size: int, count: int, different: int, seed: int
) -> None:
    scores = np.random.default_rng(seed).integers(0, different, size).astype(np.float32)
    best = sorted(np.argsort(-scores, kind="stable")[:count].tolist())
    assert highest(scores, count).tolist() == best
    above = [at for at in best if scores[at] > 0]
    assert highest(scores, count, above=0).tolist() == above


def test_scores_that_are_infinitely_low_are_none() -> None:
    scores = np.full(1_000, -np.inf, np.float32)
    scores[[7, 900]] = 0.5
    assert highest(scores, 5).tolist() == [7, 900]


def test_what_is_kept_stays_below_its_bound() -> None:
    asked: list[list[int]] = []

    def squares(numbers: list[int]) -> list[int]:
        asked.append(numbers)
        return [number * number for number in numbers]

    kept: Kept[int] = Kept(most_bytes=30)
    assert kept.get([1, 2], squares, lambda _: 10) == [1, 4]
    assert kept.get([2, 3], squares, lambda _: 10) == [4, 9]
    assert kept.get([3, 4], squares, lambda _: 10) == [9, 16]  # no room: all else is forgotten
    assert kept.get([4, 1], squares, lambda _: 10) == [16, 1]
    assert asked == [[1, 2], [3], [4], [1]]


@pytest.mark.parametrize("by", ["words", "vectors"])
def test_very_many_chunks_are_searched_by_their_rare_words_first(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = Collection.empty("code", DIM, "test")
    for number in range(200):
        collection.apply(put(f"a{number}.py", 1, f"common text kind{number % 7} word{number}"))
    texts = ["common text word17", "kind3 of common word10", "common", "word199 word5", "common"]
    vectors = None if by == "words" else np.stack([vector(text) for text in texts])
    exact = collection.search_batch(texts, vectors, 3)
    monkeypatch.setattr(words, "_EXHAUSTIVE", 0)
    assert collection.search_batch(texts, vectors, 3) == exact  # all within the budget
    monkeypatch.setattr(words, "_BUDGET", 5)
    found = collection.search_batch(texts, vectors, 3)
    assert [hits[0] for hits in found] == [hits[0] for hits in exact]
