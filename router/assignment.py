"""Which arm of an experiment a task is in: GrowthBook's hash, version 2.

FNV-1a (32 bits) over seed and id as UTF-16 code units, the decimal text of that hashed once more,
modulo 10,000; see https://docs.growthbook.io/lib/build-your-own#hashing. Being GrowthBook's own
assignment, experiments can be analysed with tools that already exist.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from contracts.messages import Group

BUCKETS = 10_000

# http://www.isthe.com/chongo/tech/comp/fnv/ (parameters of the 32-bit hash)
_OFFSET_BASIS = 0x811C9DC5
_PRIME = 0x01000193
_MASK = 0xFFFFFFFF
_PRIME_INVERSE = pow(_PRIME, -1, 1 << 32)

_ZERO = np.uint32(ord("0"))
_POWERS_OF_TEN = tuple(np.uint32(10**exponent) for exponent in range(9, -1, -1))


def bucket(experiment: str, unit: str) -> int:
    """Return the bucket of one id.

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
    if not units:
        return np.empty(0, np.int32)
    encoded = [_utf16(unit) for unit in units]
    lengths = np.fromiter(map(len, encoded), np.intp, len(encoded)) // 2
    width = int(lengths.max())
    padded = b"".join([text.ljust(2 * width, b"\0") for text in encoded])
    columns = np.frombuffer(padded, "<u2").reshape(len(encoded), width).T.astype(np.uint32)
    state = np.full(len(encoded), _extend(_OFFSET_BASIS, experiment), np.uint32)
    prime = np.uint32(_PRIME)
    for column in columns:
        state ^= column
        state *= prime
    # A padding unit of zero only multiplied by the prime, which its inverse undoes.
    state *= _inverse_powers(width)[width - lengths]
    return (_hash_decimal(state) % BUCKETS).astype(np.int32)


def group(bucket: int, percentage: float) -> Group:
    """Return the arm of a bucket: treatment exactly where `bucket / 10000 < percentage`.

    The quotient is the float nearest to the bucket's share, so 0.29 takes buckets 0-2899, where
    0.29 * 10000 (2899.999...) would take one fewer or more depending on the rounding. A larger
    percentage only ever adds buckets.

    Args:
        bucket: 0-9999.
        percentage: fraction of tasks in treatment, 0-1.
    """
    return "treatment" if bucket / BUCKETS < percentage else "control"


def _utf16(text: str) -> bytes:
    """Encode as the code units JavaScript sees, lone surrogates included."""
    return text.encode("utf-16-le", "surrogatepass")


def _extend(state: int, text: str) -> int:
    for unit in np.frombuffer(_utf16(text), "<u2").tolist():
        state = ((state ^ unit) * _PRIME) & _MASK
    return state


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
