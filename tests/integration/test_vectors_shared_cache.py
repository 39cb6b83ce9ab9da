"""Embeddings shared through a real server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import TransientError
from streams.keys import Keys
from vectors.embedding_cache import CachedEncoder
from vectors.shared_cache import SharedEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from redis import Redis

YOUNG, OLD = KEYS = Keys().embeddings


class HashEncoder:
    """Unit vectors out of SHA-256: deterministic, and with more precision than float16 holds."""

    dim = 16

    def __init__(self, identity: str = "hash", prompt: str = "") -> None:
        self.identity = identity
        self.prompt = prompt
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += texts
        digests = [hashlib.sha256((self.prompt + text).encode()).digest() for text in texts]
        rows = np.frombuffer(b"".join(digests), "<u2").reshape(-1, self.dim).astype(np.float32)
        rows -= 32768
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def shared(client: Redis, inner: HashEncoder, most: int = 100) -> SharedEncoder:
    return SharedEncoder(inner, client, KEYS, most)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), max_size=6), st.integers(1, 12))
def test_two_processes_get_what_the_encoder_would_say_and_no_more_is_kept(
    redis_client: Redis, asked: list[list[str]], most: int
) -> None:
    redis_client.delete(*KEYS)
    encoders = [shared(redis_client, HashEncoder(), most) for _ in range(2)]
    for turn, texts in enumerate(asked):
        expected = HashEncoder().encode(texts).astype("<f2").astype("f4")
        assert encoders[turn % 2].encode(texts).tobytes() == expected.tobytes()
        kept = [redis_client.hlen(key) for key in KEYS]
        assert kept[0] < max(1, most // 2)
        assert kept[1] <= max(1, most // 2)


def test_what_one_encoded_the_other_does_not(redis_client: Redis) -> None:
    first = CachedEncoder(shared(redis_client, HashEncoder()), None)
    expected = first.encode(["a", "b", "a"])
    inner = HashEncoder()
    outer = shared(redis_client, inner)
    second = CachedEncoder(outer, None)
    assert second.encode(["b", "a", "b"]).tobytes() == expected[[1, 0, 1]].tobytes()
    assert inner.encoded == []
    assert outer.hits == 2


def test_what_is_asked_for_stays_and_what_is_not_goes(redis_client: Redis) -> None:
    inner = HashEncoder()
    encoder = shared(redis_client, inner, most=4)
    encoder.encode(["kept"])
    for number in range(20):
        encoder.encode([f"once {number}"])
        encoder.encode(["kept"])
    assert inner.encoded.count("kept") == 1
    encoder.encode(["once 0"])
    assert inner.encoded.count("once 0") == 2


def test_encoders_and_prompts_never_share(redis_client: Redis) -> None:
    shared(redis_client, HashEncoder("one")).encode(["a"])
    for inner in (HashEncoder("two"), HashEncoder("one", prompt="query: ")):
        shared(redis_client, inner).encode(["a"])
        assert inner.encoded == ["a"]


@pytest.mark.parametrize("spoilt", [b"short", np.full(16, np.nan, "<f2").tobytes(), b"\0" * 32])
def test_what_is_no_vector_is_encoded_again(redis_client: Redis, spoilt: bytes) -> None:
    shared(redis_client, HashEncoder()).encode(["a"])
    redis_client.hset(YOUNG, redis_client.hkeys(YOUNG)[0], spoilt)
    inner = HashEncoder()
    expected = HashEncoder().encode(["a"]).astype("<f2").astype("f4")
    assert shared(redis_client, inner).encode(["a"]).tobytes() == expected.tobytes()
    assert inner.encoded == ["a"]
    again = HashEncoder()
    shared(redis_client, again).encode(["a"])
    assert again.encoded == []


def test_trouble_with_the_server_costs_hits_and_no_error(redis_client: Redis) -> None:
    redis_client.set(YOUNG, "no hash")
    inner = HashEncoder()
    encoder = shared(redis_client, inner)
    for _ in range(2):
        encoder.encode(["a"])
    assert inner.encoded == ["a", "a"]


def test_nothing_that_is_no_vector_is_shared(redis_client: Redis) -> None:
    class Broken(HashEncoder):
        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.full((len(texts), self.dim), np.nan, np.float32)

    with pytest.raises(TransientError, match="no vectors of length 1"):
        shared(redis_client, Broken()).encode(["a"])
    assert not redis_client.exists(*KEYS)
