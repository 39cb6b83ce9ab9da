"""A sketch of a distribution of positive numbers: any quantile of it, in bounded memory.

DDSketch (C. Masson, J. E. Rim, H. K. Lee, "DDSketch: A fast and fully-mergeable quantile sketch
with relative-error guarantees", VLDB 2019): values are counted in bins whose edges grow by a
constant factor, so that a quantile is off by at most a fixed share of itself.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCURACY = 0.01  # relative error of a quantile
_GROWTH = (1 + ACCURACY) / (1 - ACCURACY)
_LEAST = 1e-3  # values up to this share a bin; a microsecond, where they are milliseconds
_LOG_GROWTH = math.log(_GROWTH)

Sketch = Counter[int]


def bin_of(value: float) -> int:
    """Return the bin of a value; bin i holds growth^(i-1) to growth^i."""
    return math.ceil(math.log(max(value, _LEAST)) / _LOG_GROWTH)


def quantile(sketch: Mapping[int, int], share: float) -> float | None:
    """Return the smallest value with at least `share` of all at or below it (nearest rank).

    Returns:
        The value, within `ACCURACY` of itself; None of an empty sketch.
    """
    rank, passed = math.ceil(share * sum(sketch.values())), 0
    for each in sorted(sketch):
        passed += sketch[each]
        if passed >= rank:
            return 2 * _GROWTH**each / (_GROWTH + 1)
    return None


def above(sketch: Mapping[int, int], limit: float) -> int:
    """Return how many values are above a limit; those within `ACCURACY` of it may not be seen."""
    highest = bin_of(limit)
    return sum(count for each, count in sketch.items() if each > highest)
