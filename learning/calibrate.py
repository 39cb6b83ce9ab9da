"""How much a model's scores are to be believed, found on examples it was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Targets = NDArray[np.intp]

_TEMPERATURES = (0.05, 20.0)
OUT_OF_SCOPE_MARGIN = 0.25
"""Of the margin, where abstaining is for what belongs to no label: on CLINC150's validation lines
the area under the curve is .984 with all of it, .989 with a quarter, .991 without."""

NONE_SHARE = 0.2  # of what arrives, where examples of "none" are there to learn from
_LET_GO = 0.05  # share of what is in scope that may be given up, where there are none


def log_loss(logits: Floats, targets: Targets, weights: Floats, temperature: float) -> float:
    """Weighted mean of -ln p(target), in nats.

    Args:
        logits: shape (n, labels).
        targets: shape (n,).
        weights: shape (n,).
        temperature: logits are divided by it.
    """
    chosen = log_softmax(logits / temperature, axis=1)[np.arange(len(targets)), targets]
    return float(-(chosen @ weights) / weights.sum())


def fit_temperature(logits: Floats, targets: Targets, weights: Floats) -> float:
    """Return the temperature of least log loss (Guo et al. 2017, section 4.2).

    Args:
        logits: shape (n, labels), of examples that were held back.
        targets: shape (n,).
        weights: shape (n,).
    """
    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(
        lambda exponent: log_loss(logits, targets, weights, float(np.exp(exponent))),
        bounds=(low, high),
        method="bounded",
    )
    return round(float(np.exp(found.x)), 4)


def certainty_weights(
    logits: Floats, similarity: Floats, temperature: float, of_margin: float = 1.0
) -> tuple[float, float, float]:
    """Weigh energy, margin and similarity so that each varies by as much as the others.

    Args:
        logits: shape (n, labels), of examples that were held back.
        similarity: shape (n,), cosine to the nearest prototype.
        temperature: what logits are divided by.
        of_margin: the margin's share of that. It says which labels are alike rather than whether
            a text belongs to any of them.
    """
    scaled = logits / temperature
    second, first = np.sort(np.exp(log_softmax(scaled, axis=1)), axis=1)[:, -2:].T
    parts = (logsumexp(scaled, axis=1), first - second, similarity)
    energy, margin, likeness = (float(1 / max(np.std(part), 1e-6)) for part in parts)
    return round(energy, 4), round(of_margin * margin, 4), round(likeness, 4)


def threshold_for_none(
    certainty: Floats, right: NDArray[np.bool_], none: Floats | Sequence[float]
) -> float:
    """Choose the certainty below which to abstain.

    Where examples of "none" are known, it is the one that gives the most right answers if they
    are `NONE_SHARE` of what arrives; else the one that gives up no more than a twentieth of what
    is in scope, the usual working point of out-of-distribution detection (95 % true positives;
    Hendrycks & Gimpel 2017).

    Args:
        certainty: shape (n,), of held-back examples in scope.
        right: shape (n,), whether the model was right about them.
        none: certainty about examples that belong to no label.
    """
    none = np.asarray(none, np.float32)
    if not len(none):
        return round(float(np.quantile(certainty, _LET_GO)), 4)
    candidates = np.unique(np.concatenate([certainty, none]))
    order = np.argsort(certainty)
    kept = np.concatenate([[0], np.cumsum(right[order])])
    correct = kept[-1] - kept[np.searchsorted(certainty[order], candidates)]
    refused = np.searchsorted(np.sort(none), candidates)
    value = (1 - NONE_SHARE) * correct / len(certainty) + NONE_SHARE * refused / len(none)
    return round(float(candidates[value.argmax()]), 4)


def threshold_for_rules(
    certainty: Floats, right: NDArray[np.bool_], rules_right: NDArray[np.bool_]
) -> float | None:
    """Choose the certainty below which the rules are to decide, for the most right answers.

    Args:
        certainty: shape (n,), of held-back examples.
        right: shape (n,), whether the model was right.
        rules_right: shape (n,), whether the rules were.

    Returns:
        A threshold, or None where the rules are better nowhere.
    """
    order = np.argsort(certainty)
    gained = np.cumsum(rules_right[order].astype(np.int64) - right[order])
    if not len(gained) or gained.max() <= 0:
        return None
    last = int(gained.argmax())
    above = min(last + 1, len(order) - 1)
    return round(float((certainty[order[last]] + certainty[order[above]]) / 2), 4)
