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
        starts = begins.nonzero()[0]
        sizes = np.empty_like(starts)
        np.subtract(starts[1:], starts[:-1], out=sizes[:-1])
        sizes[-1] = len(begins) - starts[-1]
        return cls(starts, sizes)

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give each row the value of its group: shape (m,) becomes (n,)."""
        return values.repeat(self.sizes)

    def table(self, values: NDArray[Any], empty: float) -> NDArray[Any]:
        """Lay values out a group a row: shape (n,) becomes (m, size of the largest)."""
        laid = np.full((len(self.starts), int(self.sizes.max())), empty, values.dtype)
        row = np.arange(len(self.starts)).repeat(self.sizes)
        laid[row, np.arange(len(values)) - self.starts[row]] = values
        return laid

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

    def is_leading(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of each row, whether it is the first of those that have the highest value of a group."""
        highest = (values == self.spread(self.highest(values))).nonzero()[0]
        leading = np.zeros(len(values), np.bool_)
        leading[highest[np.searchsorted(highest, self.starts)]] = True
        return leading


def firsts(keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Of each row, whether it is the first or has another key than the one before it."""
    begins = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=begins[1:])
    return begins
