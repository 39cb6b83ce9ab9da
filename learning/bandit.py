"""What a linear bandit learns from outcomes: sufficient statistics, and how fast they fade.

Older tasks count less by a factor per task, so that what has drifted is forgotten (Russac, Vernade
& Cappe 2019, "Weighted Linear Bandits for Non-Stationary Environments"); the prior does not fade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from learning.labels import reward
from router.bandit import Bandit, Projection, rule_table, task_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from learning.records import Reported
    from router.bandit import Floats
    from router.rules import Rules
    from vectors.types import Encoder

# Standard deviation of a reward's noise; no reward from 0 to 1 has more.
_NOISE = 0.5
_AXES = 32  # of embeddings; what is uncertain grows with them, and so does what exploring costs
_REMEMBERED = 5_000  # tasks, after which one counts a third of the latest


@dataclass(frozen=True, slots=True)
class Statistics:
    """All that outcomes have said; k masters, d features.

    Attributes:
        precisions: shape (k, d, d), float64: faded sum of x x^T, prior included.
        moments: shape (k, d), float64: faded sum of (r - 1/2) x.
        prior: precision of the weights before anything was seen, above 0.
    """

    precisions: Floats
    moments: Floats
    prior: float


def nothing_known(masters: int, features: int, *, prior: float = 1.0) -> Statistics:
    """Return what is known before the first outcome.

    Args:
        masters: k.
        features: d.
        prior: above 0; higher expects smaller weights.
    """
    eye = np.broadcast_to(np.eye(features) * prior, (masters, features, features))
    return Statistics(eye.copy(), np.zeros((masters, features)), prior)


def update(
    known: Statistics,
    features: Floats,
    actions: NDArray[np.intp],
    rewards: Floats,
    *,
    forget: float = 1.0,
) -> Statistics:
    """Learn from tasks in the order of time; the same as from one after the other.

    Args:
        known: what was known before; stays as it is.
        features: shape (n, d), float64, as `router.bandit.task_features` makes them.
        actions: shape (n,), integers: which master had the task.
        rewards: shape (n,), float64, each 0-1.
        forget: factor by which every task makes earlier ones count less, above 0 and at most 1;
            1 - 1 / N remembers about N tasks.

    Raises:
        ValueError: shapes differ, or `forget` is out of range.
    """
    n, dim = features.shape
    if not n == len(actions) == len(rewards) or dim != known.moments.shape[1]:
        raise ValueError("needs features, actions and rewards of the same tasks")
    if not 0 < forget <= 1:
        raise ValueError(f"a task is remembered by a factor above 0 and at most 1, not {forget}")
    weights = forget ** np.arange(n - 1, -1, -1.0)
    fade = forget**n
    own = np.eye(dim) * known.prior
    precisions, moments = fade * (known.precisions - own) + own, fade * known.moments
    for action in range(len(moments)):
        rows = actions == action
        weighted = features[rows] * weights[rows, None]
        precisions[action] += weighted.T @ features[rows]
        moments[action] += weighted.T @ (rewards[rows] - 0.5)
    return Statistics(precisions, moments, known.prior)


def believe(known: Statistics, projection: Projection) -> Bandit:
    """Turn statistics into what workers decide by: Gaussian posteriors of the weights."""
    inverses = np.asarray(np.linalg.inv(known.precisions), np.float64)
    means = np.einsum("kde,ke->kd", inverses, known.moments)
    return Bandit(projection.centre, projection.axes, means, _NOISE**2 * inverses)


def learn(
    reported: Sequence[Reported], masters: Sequence[str], encoder: Encoder, rules: Rules
) -> Bandit:
    """Learn a bandit from all that is known, as if from one task after the other.

    Args:
        reported: n >= 2 tasks in the order of time, each decided for one of the masters.
        masters: k names.
        encoder: embeds the texts; the same one must serve the bandit later.
        rules: what the rules say of the texts.
    """
    texts = [each.decision.text for each in reported]
    embeddings = encoder.encode(texts)
    projection = principal_axes(embeddings, _AXES)
    said = rule_table([rules.score(text) for text in texts], masters)
    seen = task_features(projection, embeddings, said)
    known = update(
        nothing_known(len(masters), seen.shape[1]),
        seen,
        np.array([masters.index(each.decision.selected_master) for each in reported], np.intp),
        np.array([reward(each) for each in reported]),
        forget=1 - 1 / _REMEMBERED,
    )
    return believe(known, projection)


def principal_axes(embeddings: NDArray[np.float32], features: int) -> Projection:
    """Find the directions in which embeddings differ most, each scaled to unit variance (PCA).

    Args:
        embeddings: shape (n, dim), float32, n >= 2.
        features: how many directions; fewer are returned if embeddings differ in fewer.
    """
    centre = embeddings.mean(axis=0, dtype=np.float64)
    _, spread, axes = np.linalg.svd(embeddings - centre, full_matrices=False)
    # What is less is rounding, as numpy.linalg.matrix_rank has it.
    rounding = spread.max() * max(embeddings.shape) * np.finfo(np.float32).eps
    kept = min(features, int((spread > rounding).sum()))
    deviations = spread[:kept] / np.sqrt(len(embeddings))
    return Projection(centre, axes[:kept].T / deviations)
