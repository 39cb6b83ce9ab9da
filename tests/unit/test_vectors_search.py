from __future__ import annotations

import numpy as np
import pytest
from corpus import DIM, put, removal, vector
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import FatalError
from vectors.candidates import Candidates
from vectors.collection import Collection
from vectors.search import Fusion, fuse
from vectors.view import Place

TREE = (
    put("src/auth/session.py", 1, "def login(session): check token", "def logout(session)"),
    put("src/http/pool.py", 1, "retry socket timeout", "pool of connections", "close the pool"),
    put("ui/button.tsx", 1, "render style of a button"),
)


@pytest.fixture(scope="module")
def tree() -> Collection:
    collection = Collection.empty("code", DIM, "test")
    for delta in TREE:
        collection.apply(delta)
    return collection


Row = tuple[str, float, float, float, float]


def candidates(
    *rows: Row, memory: dict[str, float] | None = None
) -> tuple[Candidates, list[Place]]:
    """Of one text: path, lexical, dense, path score and coverage of each."""
    rows = tuple(sorted(rows, key=lambda row: row[0]))  # chunks of a file stand together
    places = [Place(row[0], at, 0, at) for at, row in enumerate(rows)]
    names = sorted({row[0] for row in rows})
    lexical, dense, path, coverage = (
        np.array([row[column] for row in rows], np.float32) for column in range(1, 5)
    )
    remembered = np.array([(memory or {}).get(row[0], 0) for row in rows], np.float32)
    none, ids = np.zeros(len(rows), np.int64), np.arange(len(rows))
    file = np.array([names.index(row[0]) for row in rows], np.int64)
    signals = (lexical, dense, path, coverage, remembered)
    return Candidates(none, none, ids, file, *signals), places


def paths(
    found: tuple[Candidates, list[Place]], k: int = 5, fusion: Fusion | None = None
) -> list[str]:
    gathered, places = found
    [ranked] = fuse(gathered, 1, k, places.__getitem__, fusion or Fusion())
    return [each.place.path for each in ranked]


def test_words_outweigh_vectors_and_both_outweigh_either() -> None:
    found = candidates(
        ("both", 4.0, 0.8, 0, 0.5), ("dense", 0.0, 0.8, 0, 0), ("words", 4.0, 0.0, 0, 0.5)
    )
    assert paths(found) == ["both", "words", "dense"]


def test_path_decides_between_equals() -> None:
    assert paths(candidates(("a", 2, 0.5, 0, 0.5), ("b", 2, 0.5, 1, 0.5))) == ["b", "a"]


def test_a_file_with_more_good_chunks_comes_first() -> None:
    found = candidates(("a", 2, 0, 0, 0.5), ("b", 2, 0, 0, 0.5), ("b", 1.5, 0, 0, 0.4))
    assert paths(found)[0] == "b"


def test_a_file_has_two_results_at_most_and_other_files_go_first() -> None:
    found = candidates(*(("a", 9.0 - at, 0, 0, 0.5) for at in range(5)), ("b", 1.0, 0, 0, 0.5))
    assert paths(found) == ["a", "a", "b"]
    assert paths(found, k=2) == ["a", "b"]


def test_what_similar_work_touched_comes_first_and_needs_no_words() -> None:
    rows = (("words", 4.0, 0.6, 0.0, 0.5), ("remembered", 0.0, 0.1, 0.0, 0.0))
    assert paths(candidates(*rows)) == ["words"]
    assert paths(candidates(*rows, memory={"remembered": 1.0})) == ["words", "remembered"]
    assert paths(candidates(*rows, memory={"remembered": 0.1})) == ["words"]
    both = candidates(*rows, ("also", 3.5, 0.6, 0.0, 0.4), memory={"also": 0.5})
    assert paths(both)[0] == "also"


def test_what_is_below_the_floor_is_no_result() -> None:
    assert paths(candidates(("a", 0.1, 0.1, 0, 0.01), ("b", 0, 0.2, 0, 0))) == []


def test_ties_are_broken_by_place() -> None:
    assert paths(candidates(("a", 1, 0, 0, 1), ("b", 1, 0, 0, 1), ("c", 1, 0, 0, 1)), 2) == [
        "a",
        "b",
    ]


def test_scores_lie_between_nothing_and_one() -> None:
    gathered, places = candidates(("a", 7, 0.9, 2, 1))
    [ranked] = fuse(gathered, 1, 1, places.__getitem__)
    assert ranked[0].score == pytest.approx(1.0)


def test_no_candidates_no_results() -> None:
    assert paths(candidates()) == []


def test_finds_by_word_by_stem_by_part_and_by_path(tree: Collection) -> None:
    for query in ("token", "logins", "checkToken", "auth"):
        assert tree.search(query, None)[0].path == "src/auth/session.py"


def test_finds_by_vector_alone(tree: Collection) -> None:
    hits = tree.search("nothing here matches", vector("render style of a button"))
    assert hits[0].path == "ui/button.tsx"


def test_nothing_relevant_is_an_answer(tree: Collection) -> None:
    assert tree.search("weather in lisbon tomorrow", None) == []
    assert tree.search("", None) == []
    assert tree.search("login", None, k=0) == []
    assert Collection.empty("code", DIM, "test").search("login", vector("login")) == []


def test_words_are_found_where_vectors_are_missing() -> None:
    collection = Collection.empty("code", DIM, "test")
    whole = put("a.py", 1, "migrate schema")
    collection.apply(type(whole)(**{**_fields(whole), "vectors": b""}))
    assert [hit.path for hit in collection.search("schema", vector("schema"))] == ["a.py"]


def test_a_batch_answers_as_one_by_one(tree: Collection) -> None:
    texts = ["login session", "close pool", "button"]
    vectors = np.stack([vector(text) for text in texts])
    single = [tree.search(text, row) for text, row in zip(texts, vectors, strict=True)]
    assert tree.search_batch(texts, vectors) == single


def test_a_chunk_scores_the_same_in_base_and_delta(tree: Collection) -> None:
    moved = Collection.empty("code", DIM, "test")
    for delta in (*TREE, put("src/auth/session.py", 2, "gone"), removal("ui/button.tsx", 2)):
        moved.apply(delta)
    for delta in (TREE[0], TREE[2]):
        moved.apply(type(delta)(**{**_fields(delta), "version": 3}))
    for query in ("login session", "style of the pool", "retry"):
        assert moved.search(query, vector(query)) == tree.search(query, vector(query))


def test_vectors_of_another_width_are_refused(tree: Collection) -> None:
    with pytest.raises(FatalError, match="shape"):
        tree.search("login", np.zeros(DIM + 1, np.float32))
    with pytest.raises(FatalError, match="vector values"):
        tree.apply(put("b.py", 1, "x", dim=DIM * 2))


@given(st.text(st.characters(), max_size=60) | st.sampled_from(['"', "NEAR(", "a AND", "* ^ -"]))
def test_no_text_is_too_strange(tree: Collection, text: str) -> None:
    for hit in tree.search(text, vector(text)):
        assert hit.path in tree.files()


def _fields(delta: object) -> dict[str, object]:
    return {name: getattr(delta, name) for name in delta.__struct_fields__}  # type: ignore[attr-defined] # any struct
