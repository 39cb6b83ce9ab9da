from __future__ import annotations

from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pytest

from vectors import near
from vectors.base import new_index
from vectors.near import INDEX_FILE, LISTS_FILE, TABLE_FILE, Near, write_near

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIM, SIZE, K = 32, 6_000, 10


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "EXACT_UP_TO", 1_000)


def vectors(seed: int, size: int = SIZE) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((40, DIM), np.float32)
    rows = centres[random.integers(0, 40, size)] + random.standard_normal((size, DIM), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows, np.float32)


def flat(rows: NDArray[np.float32]) -> Any:  # noqa: ANN401 - faiss is untyped
    index = new_index(DIM)
    index.add(rows)
    return index


def recall(found: NDArray[np.int64], index: Any, questions: NDArray[np.float32]) -> float:  # noqa: ANN401 - faiss is untyped
    _, truth = index.search(questions, K)
    hits = [len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=True)]
    return float(sum(hits) / truth.size)


def test_what_an_exact_search_finds_is_proposed(tmp_path: Path) -> None:
    exact = flat(vectors(1))
    assert write_near(tmp_path, exact, None)
    opened = Near.open(tmp_path, SIZE)
    questions = vectors(2, 100)
    assert recall(opened.propose(questions, K, None), exact, questions) >= 0.95
    assert opened.searched < opened.clusters


def test_only_selected_chunks_are_proposed(tmp_path: Path) -> None:
    assert write_near(tmp_path, flat(vectors(1)), None)
    opened = Near.open(tmp_path, SIZE)
    questions = vectors(2, 20)
    best = opened.propose(questions, K, None)
    live = np.ones(SIZE, np.bool_)
    live[best[best >= 0]] = False
    bits = np.packbits(live, bitorder="little")
    selector = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type] # the stubs know the C form only
    others = opened.propose(questions, K, selector)
    assert live[others[others >= 0]].all()
    assert (others >= 0).any()


def test_clusters_are_used_again_until_the_size_has_doubled(tmp_path: Path) -> None:
    assert write_near(tmp_path, flat(vectors(1)), None)
    before = Near.open(tmp_path, SIZE)
    for size, clusters in ((SIZE + 500, before.clusters), (4 * SIZE, 2 * before.clusters)):
        folder = tmp_path / str(size)
        folder.mkdir()
        exact = flat(vectors(1, size))
        assert write_near(folder, exact, before)
        after = Near.open(folder, size)
        assert after.clusters == pytest.approx(clusters, abs=1)
        questions = vectors(2, 100)
        assert recall(after.propose(questions, K, None), exact, questions) >= 0.95


def test_nothing_is_written_where_it_would_find_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_LEAST_RECALL", 1.01)
    assert not write_near(tmp_path, flat(vectors(1)), None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "dim"), [(500, DIM), (2_000, 31)])
def test_small_bases_and_odd_widths_are_searched_exactly(
    tmp_path: Path, size: int, dim: int
) -> None:
    index = new_index(dim)
    index.add(np.ascontiguousarray(vectors(1, size)[:, :dim]))
    assert not write_near(tmp_path, index, None)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_bounds_beyond_the_file_are_refused(tmp_path: Path, column: int) -> None:
    assert write_near(tmp_path, flat(vectors(1)), None)
    table = np.load(tmp_path / TABLE_FILE)
    table[3, column] = 1 << 62
    np.save(tmp_path / TABLE_FILE, table)
    with pytest.raises(ValueError, match=TABLE_FILE):
        Near.open(tmp_path, SIZE)


@pytest.mark.parametrize("name", [INDEX_FILE, LISTS_FILE, TABLE_FILE])
def test_a_disk_that_fills_up_is_noticed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_near(tmp_path, flat(vectors(1)), None)
