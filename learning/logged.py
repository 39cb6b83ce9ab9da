"""What was logged of a policy at work, as estimates of other policies need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logged:
    """What was done and what came of it.

    Attributes:
        rewards: shape (n,), float64, each 0-1.
        actions: shape (n,), integers, each the index of the action taken.
        propensities: shape (n,), float64, above 0 and at most 1: how likely it was taken.
        least: the least propensity any action could have had; what bounds the weights of `ips`.
            None takes the least that was seen, which is too much where chance spared us the rest.

    Raises:
        ValueError: there are fewer than 2 rows, the shapes differ, or a value is out of range.
    """

    rewards: Floats
    actions: NDArray[np.intp]
    propensities: Floats
    least: float | None = None

    def __post_init__(self) -> None:
        n = len(self.rewards)
        if n < 2 or not n == len(self.actions) == len(self.propensities):  # noqa: PLR2004 - a variance takes two
            raise ValueError("needs rewards, actions and propensities of 2 or more tasks alike")
        if not (np.all(self.rewards >= 0) and np.all(self.rewards <= 1)):
            raise ValueError("rewards must be from 0 to 1")
        if not (np.all(self.propensities > 0) and np.all(self.propensities <= 1)):
            raise ValueError("propensities must be above 0 and at most 1")
        if not 0 < self._least <= self.propensities.min():
            raise ValueError("least must be above 0 and no more than any propensity")

    @property
    def _least(self) -> float:
        return float(self.propensities.min()) if self.least is None else self.least

    @property
    def heaviest(self) -> float:
        """What no weight can exceed."""
        return 1.0 / self._least

    def weights(self, target: Floats) -> Floats:
        """Return the importance weights.

        Args:
            target: shape (n, k), float64: probability of each action under the target policy.

        Returns:
            Shape (n,), float64, not negative.

        Raises:
            ValueError: a row of `target` is no distribution over actions.
        """
        proper = np.all(target >= 0) and np.allclose(target.sum(axis=1), 1.0, atol=1e-6)
        if target.shape[0] != len(self.rewards) or not proper:
            raise ValueError("target must hold a distribution over actions for each task")
        return self.of_taken(target) / self.propensities

    def of_taken(self, table: Floats) -> Floats:
        """Pick from each row of `table`, shape (n, k), what stands at the action taken."""
        taken: Floats = np.take_along_axis(table, self.actions[:, None], axis=1)[:, 0]
        return taken


def mixture(share: float, treatment: Floats, control: Floats) -> Floats:
    """Return the propensity under an assignment to two arms, itself a random choice.

    Where the arms disagree, the split explores: pooled over both, a task's action had this chance
    (balanced weights for several loggers: Agarwal et al. 2017, "Effective Evaluation Using Logged
    Bandit Feedback from Multiple Loggers", section 5).

    Args:
        share: of tasks in treatment, 0-1.
        treatment: any shape, float64: propensity of the action had the task been in treatment.
        control: the same shape: had it been in control.
    """
    return share * treatment + (1.0 - share) * control
