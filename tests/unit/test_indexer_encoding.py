from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import structlog

from contracts.errors import TransientError
from indexer import encoding
from indexer.encoding import ENCODED_AT_ONCE, Progress, announcing, encode_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TEXTS = [f"{number:04d} " + "x" * (number % 97) for number in range(20 * ENCODED_AT_ONCE)]


class Recorder:
    """Embeds a text as its length and its number, and notes what was asked for together."""

    identity, dim = "recorder", 2

    def __init__(self, fail_at: int | None = None, together: int = 1) -> None:
        self.batches: list[list[str]] = []
        self._fail_at = fail_at
        self._meet = threading.Barrier(together)
        self.go_on = threading.Event()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(list(texts))
        if len(self.batches) == self._fail_at:
            raise RuntimeError("out of order")
        if self._fail_at and len(self.batches) > self._fail_at:
            self.go_on.wait(10)
        self._meet.wait(10)
        return np.array([(len(text), int(text[:4])) for text in texts], np.float32)


def expected(text: str) -> bytes:
    return np.array([len(text), int(text[:4])], "<f2").tobytes()


def test_every_different_text_is_encoded_once_with_those_of_like_length() -> None:
    encoder = Recorder()
    found = encode_all(TEXTS + TEXTS[:500], encoder)
    assert found == {text: expected(text) for text in TEXTS}
    assert sorted(text for batch in encoder.batches for text in batch) == sorted(TEXTS)
    spreads = [len(max(batch, key=len)) - len(min(batch, key=len)) for batch in encoder.batches]
    assert max(spreads) <= 5


def test_what_is_done_is_a_fair_sample_of_what_is_left() -> None:
    encoder = Recorder()
    encode_all(TEXTS, encoder)
    half = encoder.batches[: len(encoder.batches) // 2]
    mean = np.mean([len(text) for text in TEXTS])
    assert abs(np.mean([len(text) for batch in half for text in batch]) - mean) < mean / 5


def test_several_batches_are_out_at_a_time() -> None:
    encoder = Recorder(together=4)  # each waits for three others
    assert len(encode_all(TEXTS, encoder, parallel=4)) == len(TEXTS)


def test_progress_starts_at_nothing_and_ends_at_everything() -> None:
    told: list[Progress] = []
    encode_all(TEXTS, Recorder(), progress=told.append)
    assert [each.texts for each in told] == list(range(0, len(TEXTS) + 1, ENCODED_AT_ONCE))
    assert {each.total for each in told} == {len(TEXTS)}


def test_a_failing_encoder_ends_it_and_what_waits_is_not_begun() -> None:
    encoder = Recorder(fail_at=3)
    with pytest.raises(TransientError, match="cannot encode 64 chunks: out of order"):
        encode_all(TEXTS, encoder)
    encoder.go_on.set()
    for thread in threading.enumerate():
        if thread.name.startswith("encode"):
            thread.join(10)
    assert len(encoder.batches) <= 4  # the one that was under way


def test_no_texts_give_nothing() -> None:
    assert encode_all([], Recorder()) == {}


def test_progress_tells_rate_and_time_left() -> None:
    assert Progress(0, 10, 0.0).seconds_left is None
    third = Progress(200, 600, 4.0)
    assert (third.texts_per_second, third.seconds_left) == (50.0, 8.0)


def test_progress_is_logged_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_SAY_EVERY_S", 0.0)
    told: list[Progress] = []
    with structlog.testing.capture_logs() as said:
        announcing("indexing", told.append)(Progress(200, 600, 4.0))
    assert told == [Progress(200, 600, 4.0)]
    line = {"event": "indexing", "log_level": "info"}
    assert said == [line | {"texts": 200, "total": 600, "seconds_left": 8}]
