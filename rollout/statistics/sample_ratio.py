"""Whether the arms of an experiment got the shares of units they should have got, at any time.

Where they did not, units were lost or counted twice in one arm, and no comparison of the arms can
be trusted (Fabijan et al. 2019, "Diagnosing sample ratio mismatch in online controlled
experiments"). A unit counts once: several tasks of one unit are not independent, and every
mismatch of theirs would be significant.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from rollout.statistics.odds import Odds

if TYPE_CHECKING:
    from collections.abc import Sequence

CONCENTRATION = 1_000.0
"""Of the Dirichlet prior: as if so many units had been seen in the expected shares. It expects
shares to be off by about sqrt(p (1 - p) / 1,000), a point and a half at p = .5."""

_SIZES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0)
"""Log odds ratios: from one unit in a hundred lost to nearly all. Between neighbours evidence is
at most some tenths weaker than for the best factor."""

_FACTORS = tuple(sign * size for size in _SIZES for sign in (-1.0, 1.0))


class SampleRatio(NamedTuple):
    """What the arms' sizes came to.

    Attributes:
        p_value: smallest level at which the expected share is refuted, however often looked at.
        treated: share of units in treatment, 0-1; NaN before the first unit.
        expected: share that should be, 0-1; the mean over the units; NaN before the first.
        n: units.
    """

    p_value: float
    treated: float
    expected: float
    n: int


class SampleRatioMonitor(Struct, frozen=True):
    """Anytime-valid test of two arms' sizes while the share of treatment changes. Resumable."""

    odds: Odds = Odds.of(_FACTORS)

    def update(self, treated: int, expected: float, n: int) -> SampleRatioMonitor:
        """Return the monitor after more units.

        Args:
            treated: units that went to treatment, 0 to `n`.
            expected: share of treatment in force when they were assigned, 0-1. One treated unit
                at 0, or an untreated one at 1, is a mismatch for certain.
            n: units.

        Raises:
            ValueError: there cannot be such numbers.
        """
        return SampleRatioMonitor(self.odds.update(treated, expected, n))

    @property
    def p_value(self) -> float:
        """Smallest level at which the expected shares are refuted; never rises again."""
        return self.odds.p_value

    def summary(self) -> SampleRatio:
        """Return what is to be shown."""
        n = self.odds.n
        return SampleRatio(
            p_value=self.p_value,
            treated=self.odds.hits / n if n else math.nan,
            expected=self.odds.expected / n if n else math.nan,
            n=n,
        )


def sample_ratio(
    counts: Sequence[int], expected: Sequence[float], concentration: float = CONCENTRATION
) -> float:
    """Return the natural logarithm of the Bayes factor against the expected shares of any arms.

    A martingale in the number of units, if the shares are fixed, in whatever order units came:
    exp(-max over time) is a p-value that may be looked at all the time. The multinomial test of
    Lindon & Malek 2022, "Anytime-valid inference for multinomial count data", its Dirichlet prior
    centred at the expected shares.

    Args:
        counts: units of each arm.
        expected: share of each arm, above 0, together 1.
        concentration: of the prior, above 0; the larger, the smaller the mismatches it is best at.

    Raises:
        ValueError: the arguments do not fit together.
    """
    if len(counts) != len(expected) or min(counts) < 0:
        raise ValueError(f"counts {counts} of shares {expected}")
    if min(expected) <= 0.0 or not math.isclose(math.fsum(expected), 1.0, abs_tol=1e-9):
        raise ValueError(f"shares {expected} are not above 0 and together 1")
    arms = (
        math.lgamma(concentration * share + count)
        - math.lgamma(concentration * share)
        - count * math.log(share)
        for count, share in zip(counts, expected, strict=True)
    )
    total = math.lgamma(concentration) - math.lgamma(concentration + sum(counts))
    return total + math.fsum(arms)
