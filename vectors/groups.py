"""Arithmetic on rows that stand together in groups: a batch is reckoned at once, group by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Groups(NamedTuple):
    """n rows in m groups of neighbours.

    Attributes:
        starts: shape (m,), the first row of each group.
        sizes: shape (m,).
    """

    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @classmethod
    def of(cls, *keys: NDArray[Any]) -> Groups:
        """Group the rows whose neighbours have the same keys; there is at least one row."""
        begins = firsts(keys[0])
        for key in keys[1:]:
            begins |= firsts(key)
        starts = np.flatnonzero(begins)
        return cls(starts, np.diff(starts, append=len(begins)))

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give each row the value of its group: shape (m,) becomes (n,)."""
        return np.repeat(values, self.sizes)

    def highest(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give the highest value of each group: shape (n,) becomes (m,)."""
        return np.asarray(np.maximum.reduceat(values, self.starts))

    def kth_highest(self, values: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """Give the k-th highest value of each group, the lowest where it has fewer rows.

        Args:
            values: shape (n,), within +-2^31.
            k: counted from 1.

        Returns:
            Shape (m,).
        """
        group = self.spread(np.arange(len(self.starts)))
        ordered = np.sort((group << 32) - values)  # of each group the highest value first
        at = self.starts + np.minimum(k, self.sizes) - 1
        return (group[self.starts] << 32) - ordered[at]


def firsts(keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Of each row, whether it is the first or has another key than the one before it."""
    begins = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=begins[1:])
    return begins
