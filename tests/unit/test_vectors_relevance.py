"""Whether a text is about a collection at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vectors.collection import Collection
from vectors.memory import change, retrieve
from vectors.relevance import Evidence, are_relevant, evidence, signals
from vectors.types import Chunk, FileDelta

SIZES = st.integers(0, 2_000_000)
STRENGTHS = st.floats(-1, 2)


def relevant(files: float, size: int, history: float = 0.0, work: int = 0) -> bool:
    one, other = Evidence(np.array([files]), size), Evidence(np.array([history]), work)
    return bool(are_relevant(signals(one, other))[0])


def test_strength_is_the_mean_of_the_five_best_of_each_text() -> None:
    text = np.array([0, 0, 0, 0, 0, 0, 0, 2, 2])
    dense = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.0, -0.3, 0.4, 0.2], np.float32)
    coverage = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.3, 0.1, 0.0, 0.2], np.float32)
    found = evidence(text, dense, coverage, texts=4, size=9)
    assert found.strength == pytest.approx([(1.0 + 0.3 + 0.2 * 3) / 5, 0.0, 0.4, 0.0])
    assert found.size == 9


@given(
    st.lists(st.integers(0, 5), max_size=60).map(sorted),
    arrays(np.float32, 60, elements=st.floats(-1, 1, width=32)),
)
def test_a_batch_sums_up_as_one_by_one(text: list[int], dense: np.ndarray) -> None:
    of, fit = np.array(text, np.int64), dense[: len(text)]
    together = evidence(of, fit, fit, texts=6, size=1).strength
    for number in range(6):
        own = fit[of == number]
        alone = evidence(np.zeros(len(own), np.int64), own, own, texts=1, size=1).strength
        assert together[number] == pytest.approx(alone[0], abs=1e-6)


def test_the_same_fit_means_less_in_a_larger_collection() -> None:
    assert relevant(0.3, 500)
    assert not relevant(0.3, 500_000)
    assert relevant(0.8, 500_000)


def test_a_young_history_adds_and_a_grown_one_may_also_take_away() -> None:
    assert relevant(0.35, 2_000)
    assert relevant(0.35, 2_000, history=0.1, work=5)
    assert not relevant(0.35, 2_000, history=0.1, work=2_000)
    assert not relevant(0.1, 2_000)
    assert relevant(0.1, 2_000, history=1.2, work=5)
    assert relevant(0.1, 2_000, history=0.9, work=2_000)


def test_of_a_handful_of_chunks_anything_may_be_the_point() -> None:
    assert relevant(0.0, 3)


@given(STRENGTHS, SIZES, STRENGTHS, SIZES, st.floats(0, 1))
def test_a_better_fit_never_turns_a_text_away(
    files: float, size: int, history: float, work: int, more: float
) -> None:
    if relevant(files, size, history, work):
        assert relevant(files + more, size, history, work)
        assert relevant(files, size, history + more, work)


def word(number: int) -> str:
    """A word for each number, of letters alone."""
    return f"{number:03}".translate(str.maketrans("0123456789", "bcdfghjklm"))


@pytest.fixture(scope="module")
def crowd() -> Collection:
    """300 chunks at right angles to the first axis, but for `near.py`: its cosine is 0.5."""
    made = Collection.empty("code", 64, "test")
    drawn = np.random.default_rng(0).standard_normal((300, 64))
    drawn[:, 0] = 0
    rows = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    rows[0] *= np.sqrt(0.75)
    rows[0, 0] = 0.5
    for number, row in enumerate(rows):
        made.apply(
            FileDelta(
                path=f"{number}.py" if number else "near.py",
                version=1,
                content_hash="h",
                chunks=[Chunk(start_line=1, end_line=1, kind="code", text=word(number))],
                vectors=row.astype("<f2").tobytes(),
            )
        )
    return made


def test_one_chance_likeness_in_a_crowd_is_no_context(crowd: Collection) -> None:
    axis = np.eye(1, 64, dtype=np.float32)
    assert [hit.path for hit in crowd.search("zebra", axis[0])] == ["near.py"]
    assert retrieve(crowd, None, ["zebra"], axis) == [[]]
    assert retrieve(crowd, Collection.empty("h", 64, "test"), ["zebra"], axis) == [[]]


def test_what_words_cover_is_context_and_each_text_stands_for_itself(crowd: Collection) -> None:
    axis = np.repeat(np.eye(1, 64, dtype=np.float32), 2, axis=0)
    found = retrieve(crowd, None, [word(7), "zebra"], axis)
    assert [hit.path for hit in found[0]][:1] == ["7.py"]
    assert found[1] == []
    assert [hit.path for hit in retrieve(crowd, None, [word(9)], None)[0]] == ["9.py"]


def test_past_work_keeps_what_its_files_do_not_show(crowd: Collection) -> None:
    history = Collection.empty("code-history", 64, "test")
    axis = np.eye(1, 64, dtype=np.float32)
    chunk = change("zebra", ["5.py"])
    vectors = axis.astype("<f2").tobytes()
    history.apply(
        FileDelta(path="2026-01-01/a", version=1, content_hash="h", chunks=[chunk], vectors=vectors)
    )
    assert "5.py" in {hit.path for hit in retrieve(crowd, history, ["zebra"], axis)[0]}


def test_what_is_no_number_is_not_hidden() -> None:
    wrong = np.array([np.nan, np.inf, 0.1], np.float32)
    found = evidence(np.zeros(3, np.int64), wrong, np.zeros(3, np.float32), texts=1, size=10**6)
    assert found.strength == pytest.approx(4.1 / 3)
    assert are_relevant(signals(found, Evidence(np.zeros(1), 0))).all()


def test_no_texts_no_answers() -> None:
    none = Evidence(np.empty(0), 5)
    assert are_relevant(signals(none, none)).shape == (0,)
