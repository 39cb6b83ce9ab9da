"""Linear Thompson sampling: give tasks to masters as often as they are likely to be the best.

Each master's chance of success is linear in the features of a task, with a Gaussian posterior per
master (Agrawal & Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs", with
the features in a block of their own per master). Instead of drawing from the posterior and taking
the best, the chance that each master is the best is computed, and the policy draws by it where it
explores: the same choices, with propensities that are known. Learning from outcomes is
`learning.bandit`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from router.model import Model, Prediction
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
    def read(cls, content: bytes, masters: int, dim: int) -> Bandit:
        """Read what `write` returned.

        Args:
            content: of `bandit.safetensors`.
            masters: how many there are.
            dim: width of the embeddings it will be given.

        Raises:
            FatalError: it is no bandit, or not one for so many masters and such embeddings.
        """
        try:
            tensors = load(content)
        except (SafetensorError, ValueError, KeyError) as error:
            raise FatalError(f"bandit: {error}") from error
        names = [each.name for each in fields(cls)]
        if tensors.keys() != {*names}:
            raise FatalError(f"bandit: it has tensors {sorted(tensors)}, not {sorted(names)}")
        reduced = tensors["axes"].shape[-1] if tensors["axes"].ndim else 0
        features = 1 + reduced + masters
        shapes = {
            "centre": (dim,),
            "axes": (dim, reduced),
            "means": (masters, features),
            "covariances": (masters, features, features),
        }
        for name, shape in shapes.items():
            tensor = tensors[name]
            if tensor.shape != shape or tensor.dtype != np.float64:
                found = f"{tensor.dtype} {tensor.shape}"
                raise FatalError(f"bandit: {name} is {found}, not float64 {shape}")
            if not np.isfinite(tensor).all():
                raise FatalError(f"bandit: {name} has numbers that are not finite")
        return cls(**tensors)

    def write(self) -> bytes:
        """Return all there is to store."""
        tensors = {each.name: getattr(self, each.name) for each in fields(self)}
        return save({name: np.ascontiguousarray(each) for name, each in tensors.items()})

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
    projection: Projection | Bandit, embeddings: NDArray[np.float32], rules: Floats
) -> Floats:
    """Put together what the bandit sees of tasks.

    What the model thinks is not among it: of tasks that it learned from it is surer than it will be
    of others, and the bandit learns from the same tasks.

    Args:
        projection: of embeddings.
        embeddings: shape (n, dim), float32.
        rules: shape (n, k): what the rules think, see `rule_table`.

    Returns:
        Shape (n, 1 + r + k), float64, beginning with a constant.
    """
    reduced = (embeddings - projection.centre) @ projection.axes
    return np.concatenate([np.ones((len(reduced), 1)), reduced, rules], axis=1)


def rule_table(rules: Sequence[RuleScore], masters: Sequence[str]) -> Floats:
    """Return the scores that rules give k masters, shape (n, k), float64."""
    rows = [[each.scores.get(name, 0.0) for name in masters] for each in rules]
    return np.array(rows, np.float64).reshape(len(rows), len(masters))


@dataclass(frozen=True, slots=True)
class ThompsonModel:
    """A model beside which is explored as a bandit has it; stands wherever a `Model` does.

    What is chosen where nothing explores, how sure that is and where to abstain stays the model's
    business: it is calibrated, and a bandit is not. What is unsure is the bandit's.

    Attributes:
        masters: k names, in the order of the bandit's rows.
    """

    model: Model
    bandit: Bandit
    masters: tuple[str, ...]

    @property
    def version(self) -> str:
        """The model's; both stand in one folder."""
        return self.model.version

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        """Score a batch; see `router.model.Model.predict`."""
        seen = task_features(self.bandit, embeddings, rule_table(rules, self.masters))
        return [
            msgspec.structs.replace(prediction, chances=dict(zip(self.masters, row, strict=True)))
            for prediction, row in zip(
                self.model.predict(descriptions, embeddings, rules),
                self.bandit.chances(seen).tolist(),
                strict=True,
            )
        ]


def _normal_cdf(values: Floats) -> Floats:
    scaled = np.abs(values) / np.sqrt(2.0)
    t = 1.0 / (1.0 + _ERF_SCALE * scaled)
    polynomial = np.zeros_like(t)
    for coefficient in _ERF:
        polynomial = (polynomial + coefficient) * t
    tail: Floats = 0.5 * polynomial * np.exp(-(scaled**2))
    return np.where(values >= 0, 1.0 - tail, tail)
