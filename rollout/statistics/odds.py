"""Whether some of a stream of coin tosses came up oftener than they should, at any time.

Each toss has a known chance of a hit, which may differ from toss to toss. An alternative says that
all odds are really a factor larger; the evidence is the likelihood ratio averaged over a fixed set
of such factors. Without a difference it is a non-negative martingale that starts at 1 (with factors
above 1 only: a supermartingale also where hits are rarer than expected), hence exceeds 1 / alpha
at any time with probability at most alpha (Ville 1939). The sequential test of Lindon & Malek
2022, "Anytime-valid inference for multinomial count data", for Bernoulli processes whose chances
vary with time: there too the alternative multiplies all odds alike. Their prior is continuous;
with a finite one the chances may change as often as they like without bringing integrals.
"""

from __future__ import annotations

import math
from typing import Self

from msgspec import Struct


class Odds(Struct, frozen=True, kw_only=True):
    """Running evidence that hits have other odds than expected. Resumable.

    Attributes:
        factors: natural logarithms of the alternatives' odds ratios, at least one, none 0.
        log_likelihood_ratios: of each alternative against none, so far.
        log_peak: the most evidence there ever was, natural logarithm, from 0.
        n: tosses so far.
        hits: of these.
        expected: hits expected of these.
    """

    factors: tuple[float, ...]
    log_likelihood_ratios: tuple[float, ...]
    log_peak: float = 0.0
    n: int = 0
    hits: int = 0
    expected: float = 0.0

    @classmethod
    def of(cls, factors: tuple[float, ...]) -> Self:
        """Start with these alternatives, all alike likely."""
        return cls(factors=factors, log_likelihood_ratios=(0.0,) * len(factors))

    def update(self, hits: int, chance: float, n: int) -> Self:
        """Return the evidence after `n` more tosses.

        A hit where none can be, or a miss where every toss must hit, is certainty.

        Args:
            hits: of these tosses, 0 to `n`.
            chance: of a hit in each, 0-1, fixed before they are tossed.
            n: tosses.

        Raises:
            ValueError: there cannot be so many hits, or such a chance.
        """
        if not 0 <= hits <= n or not 0.0 <= chance <= 1.0:
            raise ValueError(f"{hits} hits of {n} with chance {chance}")
        ratios = tuple(
            so_far + hits * factor - n * math.log1p(chance * math.expm1(factor))
            for so_far, factor in zip(self.log_likelihood_ratios, self.factors, strict=True)
        )
        impossible = (chance == 0.0 and hits > 0) or (chance == 1.0 and hits < n)
        evidence = math.inf if impossible else _log_mean_exp(ratios)
        return type(self)(
            factors=self.factors,
            log_likelihood_ratios=ratios,
            log_peak=max(self.log_peak, evidence),
            n=self.n + n,
            hits=self.hits + hits,
            expected=self.expected + n * chance,
        )

    @property
    def p_value(self) -> float:
        """Smallest level at which the expected chances are refuted; never rises again."""
        return math.exp(-self.log_peak)


def _log_mean_exp(values: tuple[float, ...]) -> float:
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(v - largest) for v in values) / len(values))
