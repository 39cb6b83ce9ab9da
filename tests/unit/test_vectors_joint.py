"""Several collections searched as one."""

from __future__ import annotations

import numpy as np
import pytest
from corpus import DIM, WORDS, put, removal, vector

from vectors.collection import Collection
from vectors.joint import Joint
from vectors.memory import HISTORY, change, change_path
from vectors.types import FileDelta


def filled(name: str, *deltas: FileDelta) -> Collection:
    collection = Collection.empty(name, DIM, "test")
    for delta in deltas:
        collection.apply(delta)
    return collection


def test_two_halves_rank_as_the_whole_does() -> None:
    drawn = np.random.default_rng(5)
    deltas = [
        put(f"{'docs' if n % 3 == 0 else 'src'}/{n}.py", 1, " ".join(drawn.choice(WORDS, 8)))
        for n in range(40)
    ]
    whole = filled("code", *deltas)
    code = filled("code", *(each for each in deltas if each.path.startswith("src")))
    docs = filled("docs", *(each for each in deltas if each.path.startswith("docs")))
    texts = ["parse the login token", "render schema cache", "style of the button"]
    vectors = np.stack([vector(text) for text in texts])
    found = Joint().search([(code, None), (docs, None)], texts, vectors, 7)
    for hits, expected in zip(found, whole.search_batch(texts, vectors, 7), strict=True):
        assert [(hit.path, hit.score) for hit in hits] == [
            (hit.path, hit.score) for hit in expected
        ]
        assert {hit.collection for hit in hits} == {"code", "docs"}
        assert all(hit.path.startswith("docs") == (hit.collection == "docs") for hit in hits)


def test_the_best_of_an_unrelated_collection_is_no_rival() -> None:
    code = filled("code", put("auth.py", 1, "check the login token of a session"))
    docs = filled("docs", put("style.md", 1, "button style and token colours, matrix of buttons"))
    hits = Joint().search([(code, None), (docs, None)], ["login token session"], None, 5)[0]
    assert (hits[0].collection, hits[0].path) == ("code", "auth.py")
    assert all(hit.score < hits[0].score / 2 for hit in hits[1:])


def test_one_path_in_two_collections_is_two_places() -> None:
    sources = [
        (filled(name, put("README.md", 1, f"login {name}")), None) for name in ("code", "docs")
    ]
    hits = Joint().search(sources, ["login"], None, 5)[0]
    assert {(hit.collection, hit.path) for hit in hits} == {
        ("code", "README.md"),
        ("docs", "README.md"),
    }


def test_changes_show_and_empty_collections_cost_nothing() -> None:
    code, docs = filled("code", put("a.py", 1, "login")), filled("docs")
    joint, sources = Joint(), []
    sources = [(code, None), (docs, None)]
    assert [hit.path for hit in joint.search(sources, ["login"], None, 5)[0]] == ["a.py"]
    docs.apply(put("b.md", 1, "login"))
    assert {hit.path for hit in joint.search(sources, ["login"], None, 5)[0]} == {"a.py", "b.md"}
    code.apply(put("a.py", 2, "matrix"))
    assert [hit.path for hit in joint.search(sources, ["login"], None, 5)[0]] == ["b.md"]
    docs.apply(removal("b.md", 2))
    assert joint.search(sources, ["login"], None, 5)[0] == []
    assert joint.search([(filled("x"), None)], ["login", "b"], None, 5) == [[], []]


@pytest.mark.parametrize("remembering", ["code", "docs"])
def test_what_is_remembered_counts_for_its_own_collection(remembering: str) -> None:
    history = Collection.empty(remembering + HISTORY, DIM, "test")
    for number in range(3):
        chunk = change("repair the login", ["same.txt"])
        history.apply(
            FileDelta(
                path=change_path("2026-01-01", str(number)),
                version=1,
                content_hash="h",
                chunks=[chunk],
                vectors=vector(chunk.text).astype("<f2").tobytes(),
            )
        )
    sources = [
        (filled(name, put("same.txt", 1, "login"), put("other.txt", 1, "login")), history_of)
        for name, history_of in (
            ("code", history if remembering == "code" else None),
            ("docs", history if remembering == "docs" else None),
        )
    ]
    best = Joint().search(sources, ["repair the login"], None, 4)[0][0]
    assert (best.collection, best.path) == (remembering, "same.txt")
