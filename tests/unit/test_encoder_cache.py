from __future__ import annotations

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import TransientError
from vectors.embedding_cache import CachedEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class HashEncoder:
    """Unit vectors out of SHA-256: deterministic, and with more precision than float16 holds."""

    dim = 16

    def __init__(self, identity: str = "hash") -> None:
        self.identity = identity
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += texts
        digests = [hashlib.sha256(text.encode(errors="surrogatepass")).digest() for text in texts]
        rows = np.frombuffer(b"".join(digests), "<u2").reshape(-1, self.dim).astype(np.float32)
        rows -= 32768
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(st.lists(st.text(max_size=5), max_size=12))
def test_a_hit_equals_a_miss_to_the_bit(texts: list[str]) -> None:
    cached = CachedEncoder(HashEncoder(), None)
    missed = cached.encode(texts)
    hit = cached.encode(texts)
    assert missed.shape == (len(texts), 16)
    assert missed.dtype == hit.dtype == np.float32
    assert missed.tobytes() == hit.tobytes()
    assert missed.tobytes() == HashEncoder().encode(texts).astype("<f2").astype("f4").tobytes()
    assert cached.misses == len(set(texts))
    assert cached.hits == 2 * len(texts) - len(set(texts))


def test_text_seen_by_an_earlier_process_is_not_encoded_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache.sqlite"
    first = CachedEncoder(HashEncoder(), path)
    expected = first.encode(["a", "b"])
    first.close()
    inner = HashEncoder()
    second = CachedEncoder(inner, path)
    assert second.encode(["b", "a"]).tobytes() == expected[::-1].tobytes()
    assert (second.hits, second.misses, inner.encoded) == (2, 0, [])


def test_another_identity_shares_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    CachedEncoder(HashEncoder("one"), path).encode(["a"])
    other = CachedEncoder(HashEncoder("two"), path)
    other.encode(["a"])
    assert other.misses == 1


def test_only_what_is_missing_is_encoded_each_text_once() -> None:
    inner = HashEncoder()
    cached = CachedEncoder(inner, None)
    cached.encode(["a"])
    cached.encode(["b", "a", "c", "b"])
    assert inner.encoded == ["a", "b", "c"]


def test_more_texts_than_one_query_takes() -> None:
    texts = [str(n) for n in range(1800)]
    cached = CachedEncoder(HashEncoder(), None)
    assert cached.encode(texts).tobytes() == cached.encode(texts).tobytes()
    assert (cached.misses, cached.hits) == (1800, 1800)


def test_it_stays_within_its_bound_and_forgets_the_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cached = CachedEncoder(HashEncoder(), path, max_entries=32)
    for n in range(100):
        cached.encode([str(n)])
        with sqlite3.connect(path) as connection:
            (count,) = connection.execute("SELECT count(*) FROM embedding").fetchone()
        connection.close()
        assert count <= 32
    cached.misses = 0
    cached.encode([str(n) for n in range(75, 100)])
    assert cached.misses == 0
    cached.encode(["0"])
    assert cached.misses == 1


def test_what_was_used_lately_outlives_what_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10**18
    monkeypatch.setattr("vectors.embedding_cache.time.time_ns", lambda: now)
    cached = CachedEncoder(HashEncoder(), None, max_entries=16)
    cached.encode(["old"])
    now += 10**9
    cached.encode(["older than it looks"])
    now += 3600 * 10**9
    cached.encode(["old"])
    cached.encode([str(n) for n in range(14)])
    cached.misses = 0
    cached.encode(["old"])
    assert cached.misses == 0
    cached.encode(["older than it looks"])
    assert cached.misses == 1


def test_a_file_that_is_no_database_costs_hits_only(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"no database" * 1000)
    cached = CachedEncoder(HashEncoder(), path)
    assert cached.encode(["a"]).tobytes() == cached.encode(["a"]).tobytes()
    assert (cached.hits, cached.misses) == (0, 2)
    assert path.read_bytes() == b"no database" * 1000


def test_a_folder_that_cannot_be_made_costs_hits_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cached = CachedEncoder(HashEncoder(), tmp_path / "file" / "cache.sqlite")
    cached.encode(["a"])
    assert cached.misses == 1


def test_a_writer_that_holds_the_file_costs_hits_only(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cached = CachedEncoder(HashEncoder(), path)
    cached.encode(["a"])
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    assert cached.encode(["a", "b"]).shape == (2, 16)
    assert (cached.hits, cached.misses) == (1, 2)
    blocker.close()


def test_a_vector_of_the_wrong_length_is_a_miss(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cached = CachedEncoder(HashEncoder(), path)
    expected = cached.encode(["a"])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE embedding SET vector = x'00'")
    connection.close()
    assert cached.encode(["a"]).tobytes() == expected.tobytes()
    assert cached.misses == 2


def test_many_caches_on_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    texts = [str(n) for n in range(60)]
    expected = HashEncoder().encode(texts).astype("<f2").astype("f4").tobytes()

    def work(_: int) -> bytes:
        cached = CachedEncoder(HashEncoder(), path)
        found = np.concatenate([cached.encode([text]) for text in texts]).tobytes()
        cached.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(4))) == {expected}


def test_closed_it_still_answers() -> None:
    cached = CachedEncoder(HashEncoder(), None)
    cached.encode(["a"])
    cached.close()
    assert cached.encode(["a"]).shape == (1, 16)
    assert cached.misses == 2


def test_an_error_of_the_encoder_is_the_callers() -> None:
    class Broken(HashEncoder):
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            raise ArithmeticError(len(texts))

    with pytest.raises(ArithmeticError):
        CachedEncoder(Broken(), None).encode(["a"])


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((1, 16), np.nan, np.float32),
        np.full((1, 16), np.inf, np.float32),
        np.zeros((1, 16), np.float32),
        np.eye(2, 16, dtype=np.float32),
        np.eye(1, 15, dtype=np.float32),
        np.ones(16, np.float32),
    ],
)
def test_what_is_no_vector_is_refused_and_not_remembered(wrong: NDArray[np.float32]) -> None:
    class Confused(HashEncoder):
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return wrong if not self.encoded else super().encode(texts)

    encoder = Confused()
    cached = CachedEncoder(encoder, None)
    with pytest.raises(TransientError, match="the encoder returned"):
        cached.encode(["a"])
    encoder.encoded.append("well again")
    assert np.isfinite(cached.encode(["a"])).all()
