"""Linear Thompson sampling: give tasks to masters as often as they are likely to be the best.

Each master's chance of success is linear in the features of a task, with a Gaussian posterior per
master (Agrawal & Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs", with
the features in a block of their own per master). Instead of drawing from the posterior and taking
the best, the chance that each master is the best is computed, and the policy draws by it: the same
choices, with propensities that are known. Learning from outcomes is `learning.bandit`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from hashlib import sha256
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from router.model import Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from router.model import Model
    from router.rules import RuleScore

    Floats = NDArray[np.float64]

_DRAWS = 64  # strata of the normal distribution: chances come out within about 1/64
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / _DRAWS) for i in range(_DRAWS)])
# Abramowitz & Stegun 1964, formula 7.1.26: erf within 1.5e-7.
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERF_SCALE = 0.3275911


@dataclass(frozen=True, slots=True)
class Projection:
    """Makes few features of an embedding.

    Attributes:
        centre: shape (dim,), float64, subtracted first.
        axes: shape (dim, r), float64.
    """

    centre: Floats
    axes: Floats


@dataclass(frozen=True, slots=True)
class Bandit:
    """What is believed of every master, frozen; d features, k masters.

    Attributes:
        centre: `Projection.centre`.
        axes: `Projection.axes`.
        means: shape (k, d), float64: expected weights of the features.
        covariances: shape (k, d, d), float64: how uncertain they are, times the reward's noise.
    """

    centre: Floats
    axes: Floats
    means: Floats
    covariances: Floats

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.float64]]) -> Bandit:
        """Build one from what `tensors` returned, for example read from a safetensors file."""
        return cls(*(tensors[each.name] for each in fields(cls)))

    def tensors(self) -> dict[str, Floats]:
        """Return all there is to store."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def version(self) -> str:
        """Identity of what is believed."""
        state = b"".join(tensor.tobytes() for tensor in self.tensors().values())
        return sha256(state).hexdigest()[:12]

    def chances(self, features: Floats) -> Floats:
        """Return how likely each master is to be the best.

        With posterior N(m_a, s_a^2) of a master's reward, P(a is best) is the expectation over a
        standard normal z of the product over the others b of Phi((m_a + s_a z - m_b) / s_b), here
        over the middles of equally likely strata of z.

        Args:
            features: shape (n, d), float64.

        Returns:
            Shape (n, k), float64; rows sum to 1.
        """
        expected = features @ self.means.T
        spread = np.einsum("nd,kde,ne->nk", features, self.covariances, features)
        spread = np.sqrt(np.maximum(spread, 1e-12))
        drawn = expected[:, :, None] + spread[:, :, None] * _QUANTILES  # (n, k, draws)
        beaten = _normal_cdf(
            (drawn[:, :, None, :] - expected[:, None, :, None]) / spread[:, None, :, None]
        )
        own = np.arange(expected.shape[1])
        beaten[:, own, own, :] = 1.0
        best = beaten.prod(axis=2).mean(axis=2)
        shares: Floats = best / best.sum(axis=1, keepdims=True)
        return shares


def task_features(
    projection: Projection | Bandit, embeddings: NDArray[np.float32], *opinions: Floats
) -> Floats:
    """Put together what the bandit sees of tasks.

    Args:
        projection: of embeddings.
        embeddings: shape (n, dim), float32.
        opinions: each of shape (n, k): probabilities per master, of the model and of the rules.

    Returns:
        Shape (n, 1 + r + all k), float64, beginning with a constant.
    """
    reduced = (embeddings - projection.centre) @ projection.axes
    return np.concatenate([np.ones((len(reduced), 1)), reduced, *opinions], axis=1)


@dataclass(frozen=True, slots=True)
class ThompsonModel:
    """A model whose choices a bandit corrects; stands wherever a `router.model.Model` does.

    Where the model abstains, so does this. Its scores are the chances of being best, and it asks
    the policy to explore by them.

    Attributes:
        masters: k names, in the order of the bandit's rows.
    """

    model: Model
    bandit: Bandit
    masters: tuple[str, ...]

    @property
    def version(self) -> str:
        """Both versions: the two decide together."""
        return f"{self.model.version}+{self.bandit.version}"

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        """Score a batch; see `router.model.Model.predict`."""
        predictions = self.model.predict(descriptions, embeddings, rules)
        opinions = [self._table([each.scores for each in some]) for some in (predictions, rules)]
        chances = self.bandit.chances(task_features(self.bandit, embeddings, *opinions))
        return [
            prediction if prediction.abstained else self._prediction(row)
            for prediction, row in zip(predictions, chances.tolist(), strict=True)
        ]

    def _table(self, scores: Sequence[Mapping[str, float]]) -> Floats:
        rows = [[each.get(name, 0.0) for name in self.masters] for each in scores]
        return np.array(rows, np.float64).reshape(len(rows), len(self.masters))

    def _prediction(self, chances: list[float]) -> Prediction:
        named = dict(zip(self.masters, chances, strict=True))
        return Prediction(named, chances=named)


def _normal_cdf(values: Floats) -> Floats:
    scaled = np.abs(values) / np.sqrt(2.0)
    t = 1.0 / (1.0 + _ERF_SCALE * scaled)
    polynomial = np.zeros_like(t)
    for coefficient in _ERF:
        polynomial = (polynomial + coefficient) * t
    tail: Floats = 0.5 * polynomial * np.exp(-(scaled**2))
    return np.where(values >= 0, 1.0 - tail, tail)
