"""Predicts what each action would have earned, without having seen the row it predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from learning.logged import Floats, Logged

# Noise of a 0-1 reward (at most 1/4) over what features explain of it (taken for 1/16).
_NOISE = 4.0


def cross_fitted(
    logged: Logged, features: Floats, actions: int, *, folds: int = 5, seed: int = 0
) -> Floats:
    """Predict rewards by ridge regression per action, each fold by a fit to the others.

    Cross-fitting keeps doubly robust estimates unbiased and their intervals valid whatever the
    model's quality (Chernozhukov et al. 2018, "Double/debiased machine learning"). An action
    seldom taken shrinks towards the mean reward of all.

    Args:
        logged: n tasks.
        features: shape (n, d), float64, finite.
        actions: how many there are, k.
        folds: 2 or more, at most n.
        seed: of the folds.

    Returns:
        Shape (n, k), float64, each 0-1.
    """
    n, dim = features.shape
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    design = np.column_stack([np.ones(n), scaled])
    penalty = np.diag([1.0, *[_NOISE * dim] * dim])  # the intercept's prior is one row's worth
    fold = np.random.default_rng(seed).permutation(n) % folds
    predicted = np.empty((n, actions))
    for each in range(folds):
        seen, held_back = fold != each, fold == each
        mean = logged.rewards[seen].mean()
        for action in range(actions):
            fit = _ridge(design, logged.rewards - mean, seen & (logged.actions == action), penalty)
            predicted[held_back, action] = mean + design[held_back] @ fit
    return np.clip(predicted, 0.0, 1.0)


def _ridge(design: Floats, rewards: Floats, rows: NDArray[np.bool_], penalty: Floats) -> Floats:
    """Return the coefficients; all zero where there are no rows."""
    chosen = design[rows]
    fit = np.linalg.solve(chosen.T @ chosen + penalty, chosen.T @ rewards[rows])
    return np.asarray(fit, np.float64)
