from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from corpus import DIM, vector
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import TransientError
from vectors.embedding_cache import CachedEncoder
from worker.known_texts import KnownTexts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Recorder:
    """Encodes for real, by hashing, and keeps what it was asked for."""

    identity, dim = "test", DIM

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.broken = False

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append([*texts])
        vectors = np.array([vector(text) for text in texts], np.float32)
        return vectors * np.nan if self.broken else vectors


@given(st.lists(st.lists(st.text(st.characters(), max_size=3), max_size=4), max_size=5))
def test_vectors_are_those_of_the_other_cache(batches: list[list[str]]) -> None:
    known, cached = KnownTexts(Recorder(), most=3), CachedEncoder(Recorder(), None)
    for texts in batches:
        assert known.encode(texts).tobytes() == cached.encode(texts).tobytes()
    cached.close()


def test_what_is_known_is_not_asked_for_again() -> None:
    encoder = Recorder()
    known = KnownTexts(encoder, most=3)
    known.encode(["a", "b", "a"])
    known.encode(["b", "c"])
    assert encoder.asked == [["a", "b"], ["c"]]


def test_what_was_not_asked_for_the_longest_is_forgotten() -> None:
    encoder = Recorder()
    known = KnownTexts(encoder, most=2)
    for texts in (["a", "b"], ["a"], ["c"], ["a", "b"]):
        known.encode(texts)
    assert encoder.asked == [["a", "b"], ["c"], ["b"]]
    assert known.encode([]).shape == (0, DIM)


def test_what_is_no_vector_is_refused_and_not_remembered() -> None:
    encoder = Recorder()
    known = KnownTexts(encoder, most=2)
    encoder.broken = True
    with pytest.raises(TransientError, match="length 1"):
        known.encode(["a"])
    encoder.broken = False
    assert known.encode(["a"]).tolist() == [vector("a").astype(np.float16).tolist()]
