"""Which arm of an experiment a unit is in, as GrowthBook assigns it.

The hash is FNV-1a (32 bits) over UTF-16 code units, as everything in
https://docs.growthbook.io/lib/build-your-own is. Being GrowthBook's own assignment, experiments can
be analysed with tools that already exist.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BUCKETS = 10_000  # of version 2 of the hash
_BUCKETS_1 = 1_000  # of version 1, which namespaces are cut by

_WEIGHTS_SUM_TO = (0.99, 1.01)  # GrowthBook's own tolerance

# http://www.isthe.com/chongo/tech/comp/fnv/ (parameters of the 32-bit hash)
_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_MASK = 0xFFFFFFFF
_PRIME_INVERSE = pow(_PRIME, -1, 1 << 32)

_ZERO = np.uint32(ord("0"))
_POWERS_OF_TEN = tuple(np.uint32(10**exponent) for exponent in range(9, -1, -1))


def hash_unit(seed: str, value: str, version: int) -> float | None:
    """Return GrowthBook's `hash`: where on the line from 0 to 1 a value falls.

    Args:
        seed: makes the places of different experiments independent.
        value: what is hashed; any string.
        version: 1 has 1,000 places and is biased where seeds are alike, 2 has 10,000.

    Returns:
        0 <= place < 1; None if there is no such version.
    """
    if version == 1:
        return _extend(_extend(_OFFSET_BASIS, value), seed) % _BUCKETS_1 / _BUCKETS_1
    return bucket(seed, value) / BUCKETS if version == 2 else None  # noqa: PLR2004 - its name


def bucket(experiment: str, unit: str) -> int:
    """Return the bucket of one id, by version 2 of the hash.

    Args:
        experiment: seed that makes assignments of different experiments independent.
        unit: the id to assign; any string.

    Returns:
        0-9999, the same in every process and in every GrowthBook SDK.
    """
    first = _extend(_extend(_OFFSET_BASIS, experiment), unit)
    return _extend(_OFFSET_BASIS, str(first)) % BUCKETS


def buckets(experiment: str, units: Sequence[str]) -> NDArray[np.int32]:
    """Return the buckets of a whole batch of ids, hashed column by column.

    Args:
        experiment: seed that makes assignments of different experiments independent.
        units: n ids; any strings.

    Returns:
        Array of shape (n,), int32, each 0-9999 and equal to `bucket(experiment, unit)`.
    """
    state = _extend_each(_extend(_OFFSET_BASIS, experiment), units)
    return (_hash_decimal(state) % BUCKETS).astype(np.int32)


def in_range(place: float, ends: tuple[float, float]) -> bool:
    """Whether a place is in a half-open range: GrowthBook's `inRange`."""
    return ends[0] <= place < ends[1]


def in_namespace(unit: str, name: str, start: float, end: float) -> bool:
    """Whether a unit is in a part of a namespace: GrowthBook's `inNamespace`.

    Experiments that have parts of one namespace which do not overlap share no unit.

    Args:
        unit: any string.
        name: of the namespace.
        start: where the part begins, 0-1.
        end: where it ends, 0-1; not in it.
    """
    place = hash_unit(f"__{name}", unit, 1)
    return place is not None and in_range(place, (start, end))


def in_namespaces(units: Sequence[str], name: str, start: float, end: float) -> NDArray[np.bool_]:
    """Return for a whole batch whether each unit is in a part of a namespace.

    Args:
        units: n ids; any strings.
        name: of the namespace.
        start: where the part begins, 0-1.
        end: where it ends, 0-1; not in it.

    Returns:
        Array of shape (n,), bool, each equal to `in_namespace(unit, name, start, end)`.
    """
    state = _extend_each(_OFFSET_BASIS, units)
    prime = np.uint32(_PRIME)
    for code in _codes(f"__{name}"):
        state = (state ^ np.uint32(code)) * prime
    places = state % _BUCKETS_1 / _BUCKETS_1
    return np.asarray((start <= places) & (places < end), np.bool_)


def equal_weights(variations: int) -> list[float]:
    """Return weights that sum to 1, none if there are no variations: `getEqualWeights`."""
    return [1 / variations] * variations if variations > 0 else []


def bucket_ranges(
    variations: int, coverage: float = 1.0, weights: Sequence[float] | None = None
) -> list[tuple[float, float]]:
    """Return the half-open range of places that each variation takes: `getBucketRanges`.

    A variation is given its first places first, so more coverage moves nobody to another one.

    Args:
        variations: how many there are.
        coverage: fraction of each variation's places that are taken; held to 0-1.
        weights: share of each variation. They are equal where these are not as many as there are
            variations, are negative or not finite, or are 1% or more away from summing to 1.
    """
    if weights is None or not _are_weights(weights, variations):
        weights = equal_weights(variations)
    taken, ranges, start = min(max(coverage, 0.0), 1.0), [], 0.0
    for weight in weights:
        ranges.append((start, start + taken * weight))
        start += weight
    return ranges


def choose_variation(place: float, ranges: Sequence[tuple[float, float]]) -> int:
    """Return the first range that a place is in, -1 if it is in none: `chooseVariation`."""
    return next((n for n, ends in enumerate(ranges) if in_range(place, ends)), -1)


def _are_weights(weights: Sequence[float], variations: int) -> bool:
    low, high = _WEIGHTS_SUM_TO
    return (
        len(weights) == variations
        and all(weight >= 0 and math.isfinite(weight) for weight in weights)
        and low <= sum(weights) <= high
    )


def _utf16(text: str) -> bytes:
    """Encode as the code units JavaScript sees, lone surrogates included."""
    return text.encode("utf-16-le", "surrogatepass")


def _codes(text: str) -> list[int]:
    codes: list[int] = np.frombuffer(_utf16(text), "<u2").tolist()
    return codes


def _extend(state: int, text: str) -> int:
    for code in _codes(text):
        state = ((state ^ code) * _PRIME) & _MASK
    return state


def _extend_each(state: int, texts: Sequence[str]) -> NDArray[np.uint32]:
    """Extend one state by each of n texts; returns shape (n,), uint32."""
    lengths, columns = _columns(texts)
    states = np.full(len(texts), state, np.uint32)
    prime = np.uint32(_PRIME)
    for column in columns:
        states ^= column
        states *= prime
    # A padding unit of zero only multiplied by the prime, which its inverse undoes.
    states *= _inverse_powers(len(columns))[len(columns) - lengths]
    return states


def _columns(texts: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
    """Return the length of each of n texts, shape (n,), and their code units, shape (longest, n).

    Shorter ones are padded with zeros.
    """
    width = max(map(len, texts), default=0)
    joined = "".join([text.ljust(width, "\0") for text in texts])
    if joined.isascii():  # as ids nearly always are: then a byte is a code unit
        lengths = np.fromiter(map(len, texts), np.intp, len(texts))
        codes = np.frombuffer(joined.encode(), np.uint8)
    else:
        encoded = [_utf16(text) for text in texts]
        lengths = np.fromiter(map(len, encoded), np.intp, len(encoded)) // 2
        width = int(lengths.max())
        padded = b"".join([text.ljust(2 * width, b"\0") for text in encoded])
        codes = np.frombuffer(padded, "<u2")
    return lengths, codes.reshape(len(texts), width).T.astype(np.uint32)


def _hash_decimal(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Hash the decimal text of each value.

    Args:
        values: shape (n,), uint32.

    Returns:
        Array of shape (n,), uint32.
    """
    state = np.full(values.shape, _OFFSET_BASIS, np.uint32)
    prime = np.uint32(_PRIME)
    for power in _POWERS_OF_TEN:
        leading = values // power
        hashed = (state ^ (leading % 10 + _ZERO)) * prime
        written = leading > 0 if power > 1 else True
        state = np.where(written, hashed, state)
    return state


@lru_cache(maxsize=64)
def _inverse_powers(width: int) -> NDArray[np.uint32]:
    """Return the inverse of the prime to the powers 0 to `width`, modulo 2**32."""
    return np.array([pow(_PRIME_INVERSE, n, 1 << 32) for n in range(width + 1)], np.uint32)
