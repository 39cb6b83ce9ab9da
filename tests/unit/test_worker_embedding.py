from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from corpus import DIM, vector
from hypothesis import given
from hypothesis import strategies as st

from worker.embedding import Embedder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

PATIENCE = 0.2
TEXTS = st.lists(st.text("abc", max_size=2), min_size=1, max_size=5)


class Engine:
    """Encodes for real, by hashing; holds on, or fails at a text, when told to."""

    identity, dim = "test", DIM

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Semaphore(0)
        self.poison: str | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        self.begun.release()
        self.free.wait(30)
        if self.poison in texts:
            raise RuntimeError("poison")
        return np.array([vector(text) for text in texts], np.float32)


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.free.set()


@pytest.fixture
def embedder(engine: Engine) -> Iterator[Embedder]:
    with closing(Embedder(lambda: engine, PATIENCE)) as made:
        yield made


def expected(texts: Sequence[str]) -> list[list[float]]:
    return [vector(text).tolist() for text in texts]


@given(st.lists(st.tuples(st.booleans(), TEXTS), max_size=8))
def test_what_is_embedded_ahead_changes_no_vector(steps: list[tuple[bool, list[str]]]) -> None:
    engine = Engine()
    with closing(Embedder(lambda: engine, 30)) as embedder:
        for ahead, texts in steps:
            if ahead:
                embedder.ahead(texts)
            else:
                found = embedder.embed(texts)
                assert found is not None
                assert found.tolist() == expected(texts)
    assert len(engine.asked) == len({*engine.asked})


def test_the_next_batch_is_under_way_while_this_one_is_worked_on(
    engine: Engine, embedder: Embedder
) -> None:
    assert embedder.embed(["this"]) is not None
    assert engine.begun.acquire(timeout=10)
    engine.free.clear()
    embedder.ahead(["next"])
    assert engine.begun.acquire(timeout=10)  # and `ahead` has returned
    assert embedder.embed(["this"]) is not None  # which waits for nothing
    engine.free.set()
    assert embedder.embed(["next", "this"]) is not None
    assert engine.asked == ["this", "next"]


def test_a_hang_ahead_costs_the_batch_it_is_for_one_time_out(
    engine: Engine, embedder: Embedder, eventually: Callable[..., None]
) -> None:
    assert embedder.embed(["this"]) is not None
    engine.free.clear()
    embedder.ahead([f"next {number}" for number in range(100)])  # several calls
    assert embedder.embed(["this"]) is not None
    assert embedder.embed(["next 99"]) is None
    assert embedder.embed(["other"]) is None  # at once, or this would take long
    embedder.ahead(["another"])
    assert embedder.embed(["another"]) is None
    engine.free.set()
    eventually(lambda: embedder.embed(["other"]) is not None)
    assert embedder.embed(["next 99", "another"]) is not None


def test_an_error_ahead_is_that_of_the_batch_it_is_for(engine: Engine, embedder: Embedder) -> None:
    engine.poison = "bad"
    embedder.ahead(["this"])
    embedder.ahead(["bad"])
    embedder.ahead(["after"])
    found = embedder.embed(["this"])
    assert found is not None
    assert found.tolist() == expected(["this"])
    assert embedder.embed(["bad"]) is None
    assert embedder.embed(["after"]) is not None
