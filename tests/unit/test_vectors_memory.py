"""What earlier work says about new work."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from chaos.faulty import WordEncoder
from vectors.collection import Collection
from vectors.memory import change, change_path, remember
from vectors.types import Chunk, FileDelta

ENCODER = WordEncoder()


def delta(path: str, chunk: Chunk, version: int = 1) -> FileDelta:
    vectors = ENCODER.encode([chunk.embedded_text]).astype("<f2").tobytes()
    return FileDelta(path=path, version=version, content_hash="h", chunks=[chunk], vectors=vectors)


def collection(name: str, *deltas: FileDelta) -> Collection:
    made = Collection.empty(name, ENCODER.dim, ENCODER.identity)
    for each in deltas:
        made.apply(each)
    return made


def code(*paths: str) -> Collection:
    text = Chunk(start_line=1, end_line=1, kind="code", text="nothing to do with it")
    return collection("code", *(delta(path, text) for path in paths))


def history(*work: tuple[str, str, list[str]]) -> Collection:
    return collection(
        "code-history",
        *(
            delta(change_path(day, str(number)), change(said, paths))
            for number, (day, said, paths) in enumerate(work)
        ),
    )


WORK = (
    ("2026-01-01", "repair login token check", ["src/auth.py", "src/gone.py"]),
    ("2026-02-01", "faster table rendering", ["src/table.py"]),
    ("2026-03-01", "login page wording", ["web/login.html"]),
)
PRESENT = ("src/auth.py", "src/table.py", "web/login.html")


@pytest.mark.parametrize("by", ["words", "vectors"])
def test_files_of_similar_work_are_remembered_if_they_are_there(by: str) -> None:
    asked = ["login token check broken"]
    vectors = None if by == "words" else ENCODER.encode(asked)
    [memory] = remember(history(*WORK), code(*PRESENT), asked, vectors)
    assert max(memory, key=memory.__getitem__) == "src/auth.py"
    assert memory["src/auth.py"] == 1.0
    assert memory.get("web/login.html", 0) < 1
    assert memory.keys() <= set(PRESENT)


def test_what_a_piece_of_work_touched_are_no_words_of_it() -> None:
    [memory] = remember(
        history(("2026-01-01", "wording", ["token/check.py"])),
        code("token/check.py"),
        ["token"],
        None,
    )
    assert memory == {}


def test_younger_work_counts_more() -> None:
    same = "repair login"
    work = history(("2010-01-01", same, ["a.py"]), ("2026-01-01", same, ["b.py"]))
    [memory] = remember(work, code("a.py", "b.py"), [same], ENCODER.encode([same]))
    assert memory["b.py"] == 1.0
    assert 0.5 <= memory["a.py"] < 0.6


def test_work_on_many_files_says_less_of_each() -> None:
    said = "repair login"
    many = [f"m{number}.py" for number in range(9)]
    work = history(("2026-01-01", said, many), ("2026-01-01", said, ["one.py"]))
    [memory] = remember(work, code("one.py", *many), [said], ENCODER.encode([said]))
    assert memory["one.py"] == 1.0
    assert memory["m0.py"] == pytest.approx(1 / 3, abs=0.01)


def test_nothing_is_remembered_of_what_nobody_did() -> None:
    asked = ["kettle descaling"]
    assert remember(history(*WORK), code(*PRESENT), asked, None) == [{}]
    assert remember(history(), code(), ["a", "b"], None) == [{}, {}]


def test_a_remembered_file_is_found_by_no_word_of_its_own() -> None:
    files = code(*PRESENT)
    asked = ["token check broken"]
    vectors = np.zeros((1, ENCODER.dim), np.float32)
    assert files.search_batch(asked, vectors) == [[]]
    memories = remember(history(*WORK), files, asked, ENCODER.encode(asked))
    [hits] = files.search_batch(asked, vectors, 5, memories)
    assert hits[0].path == "src/auth.py"
    files.apply(delta("src/auth.py", Chunk(start_line=1, end_line=1, kind="code", text="x"), 2))
    [again] = files.search_batch(asked, vectors, 5, memories)
    assert Counter(hit.path for hit in again)["src/auth.py"] == 1
