"""Whether there are too many failures, fallbacks or errors: in treatment, or above a limit.

Every test here may be looked at after every event. Failures are rare; tests on counts, unlike those
on means, need no large numbers to be right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from rollout.statistics.odds import Odds

if TYPE_CHECKING:
    from collections.abc import Callable

_FACTORS = tuple(math.log(ratio) for ratio in (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0))
"""From a tenth more failures, the least that matters, to a model that hardly ever works."""

_PRIOR = 0.5
"""Both parameters of the beta distribution: Jeffreys' prior."""

_STEPS = 60  # of bisection: finer than float64 between 0 and 1


class FailureMonitor(Struct, frozen=True):
    """Anytime-valid test that treatment fails no oftener than control. Resumable.

    Where both fail alike, a failure is one of treatment with the chance that a task is, however
    failures are spread over time: the conditional test of Lindon & Malek 2022, "Anytime-valid
    inference for multinomial count data", of time-inhomogeneous Bernoulli processes. Failures
    shared by the arms (an outage) raise no alarm.
    """

    odds: Odds = Odds.of(_FACTORS)

    def update(self, treated: int, expected: float, n: int) -> FailureMonitor:
        """Return the monitor after more failures.

        Args:
            treated: failures under treatment, 0 to `n`.
            expected: share of treatment in force when their tasks were assigned, 0-1. At 1 there is
                nothing to compare with.
            n: failures of both arms.

        Raises:
            ValueError: there cannot be such numbers.
        """
        return FailureMonitor(self.odds.update(treated, expected, n))

    @property
    def p_value(self) -> float:
        """Smallest level at which treatment fails oftener; never rises again."""
        return self.odds.p_value

    @property
    def ratio(self) -> float:
        """Failures per task of treatment, as a multiple of control's; NaN or inf without any."""
        odds = self.odds
        treated, control = (
            hits / expected if expected > 0.0 else math.nan
            for hits, expected in (
                (odds.hits, odds.expected),
                (odds.n - odds.hits, odds.n - odds.expected),
            )
        )
        if control == 0.0:
            return math.inf if treated > 0.0 else math.nan
        return treated / control


class LimitMonitor(Struct, frozen=True):
    """Anytime-valid test that failures are no oftener than a limit allows. Resumable."""

    odds: Odds = Odds.of(_FACTORS)

    def update(self, failures: int, limit: float, n: int) -> LimitMonitor:
        """Return the monitor after more tasks.

        Args:
            failures: of these tasks, 0 to `n`.
            limit: share that may fail, 0-1. At 0 the first failure is certainty.
            n: tasks.

        Raises:
            ValueError: there cannot be such numbers.
        """
        return LimitMonitor(self.odds.update(failures, limit, n))

    @property
    def p_value(self) -> float:
        """Smallest level at which the limit is exceeded; never rises again."""
        return self.odds.p_value


def rate_sequence(count: int, n: int, *, alpha: float) -> tuple[float, float]:
    """Return the interval for a rate that holds at all times with probability 1 - `alpha`.

    The rates against which the beta-binomial mixture does not reach 1 / alpha: Robbins 1970,
    "Statistical methods related to the law of the iterated logarithm"; exact at every `n`, for a
    rate that does not change.

    Args:
        count: of `n`.
        n: tasks so far.
        alpha: both sides together, 0-1.

    Raises:
        ValueError: there cannot be so many.
    """
    if not 0 <= count <= n:
        raise ValueError(f"{count} of {n}")
    mixture = _log_beta(_PRIOR + count, _PRIOR + n - count) - _log_beta(_PRIOR, _PRIOR)
    bound = mixture + math.log(alpha)

    def refuted(rate: float) -> bool:
        return _times_log(count, rate) + _times_log(n - count, 1.0 - rate) <= bound

    observed = count / n if n else 0.5
    low = _bisect(refuted, 0.0, observed) if refuted(0.0) else 0.0
    high = _bisect(refuted, 1.0, observed) if refuted(1.0) else 1.0
    return low, high


def _bisect(refuted: Callable[[float], bool], outside: float, inside: float) -> float:
    """Return the end between a rate that is refuted and one that is not; refuted by a hair."""
    for _ in range(_STEPS):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if refuted(middle) else (outside, middle)
    return outside


def _times_log(count: int, rate: float) -> float:
    if count == 0:
        return 0.0
    return count * math.log(rate) if rate > 0.0 else -math.inf


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
