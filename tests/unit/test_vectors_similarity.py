"""Comparing texts with all chunks of a segment: roughly where it is large, exactly in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from vectors.base import COLUMNS, Base, LiveBase, connect_rows, new_index
from vectors.rough import Rough
from vectors.segment import Columns
from vectors.similarity import Similarity

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIM, SIZE, COUNT = 48, 4_000, 60


def rows(seed: int, size: int) -> NDArray[np.float32]:
    """Vectors of length one around a few directions, as float16 has them."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((8, DIM))
    found = centres[random.integers(0, 8, size)] + random.standard_normal((size, DIM))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float16).astype(np.float32)


def segment(vectors: NDArray[np.float32]) -> LiveBase:
    index = new_index(DIM)
    index.add(vectors)
    table = np.zeros(len(vectors), COLUMNS)
    columns = Columns(table["file"], table["length"], table["start_line"])
    return LiveBase(Base(index, connect_rows(":memory:"), columns))


VECTORS = rows(1, SIZE)
VECTORS[1_000:1_040] = VECTORS[7]  # equals
VECTORS[30] = 0  # not embedded yet
TEXTS = np.concatenate([rows(2, 20), VECTORS[7:8]])


def best(text: NDArray[np.float32], alive: NDArray[np.bool_]) -> list[float]:
    cosines = (VECTORS @ text)[alive]
    return sorted(cosines.tolist(), reverse=True)[:COUNT]


def test_rough_cosines_are_as_near_as_they_say() -> None:
    rough, slack = Rough(VECTORS).cosines(TEXTS)
    wrong = np.abs(rough - TEXTS @ VECTORS.T)
    assert (wrong <= slack[:, np.newaxis]).all()
    assert wrong.max() > 0  # or it is not rough
    assert slack.max() < 0.05


@pytest.mark.parametrize("texts", [1, 3, 21])
@pytest.mark.parametrize("replaced", [range(0), range(500, 1_020)])
def test_the_nearest_of_many_are_those_of_an_exact_search(texts: int, replaced: range) -> None:
    live = segment(VECTORS)
    assert live.rough() is not None
    if replaced:
        live = live.without(replaced)
    similar = Similarity(live, TEXTS[-texts:], whole=not replaced)
    for number, found in enumerate(similar.nearest(COUNT)):
        assert len(set(found.tolist())) == COUNT
        assert live.alive[found].all()
        cosines = similar.of(np.full(COUNT, number), found)
        exact = best(TEXTS[-texts:][number], live.alive)
        assert sorted(cosines.tolist(), reverse=True) == pytest.approx(exact, abs=1e-6)


def test_the_nearest_of_a_run_is_the_first_of_equals() -> None:
    similar = Similarity(segment(VECTORS), TEXTS, whole=True)
    texts, starts, sizes = np.array([3, 3, 20, 20]), np.array([5, 90, 995, 3_999]), [9, 700, 50, 1]
    found = similar.nearest_of(texts, starts, np.array(sizes))
    runs = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    exact = [
        int(start + np.argmax(VECTORS[run] @ TEXTS[text]))
        for text, start, run in zip(texts, starts, runs, strict=True)
    ]
    assert found.tolist() == exact
    assert found[2] == 1_000


def test_scores_that_are_no_numbers_are_seen() -> None:
    broken = VECTORS.copy()
    broken[77] = np.nan
    asked = np.concatenate([TEXTS[:1], np.full((1, DIM), np.nan, np.float32)])
    similar = Similarity(segment(broken), asked, whole=True)
    sound, unsound = similar.nearest(COUNT)
    assert 77 not in sound
    assert len(sound) == COUNT
    assert not len(unsound)
    assert np.isnan(similar.of(np.array([0, 1]), np.array([77, 5]))).all()
    assert similar.nearest_of(np.array([1]), np.array([3]), np.array([4])).tolist() == [3]
