"""How far to trust each label, by what is known about texts like it and how lately.

Outcomes lie now and then, and what was right before a change is wrong after it. Both show in the
neighbourhood: a label that its nearest neighbours contradict is probably wrong (Bahri, Jiang, Gupta
2020, "Deep k-NN for Noisy Labels"), or out of date where the contradiction is the younger. Votes
are weighted by likeness (Nadaraya 1964, Watson 1964) and by age, which halves them every so many
days, down to a tenth: what is old stands until something younger contradicts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1_024  # rows compared at once: what bounds memory, at 1,024 x n similarities


class Trust(Struct, frozen=True, kw_only=True):
    """How votes are weighed.

    Attributes:
        neighbours: how many of the nearest vote on a label, the example itself not counted. More
            than a handful, so that one liar in ten never has the majority.
        width: likeness falls by a factor e for every so much of cosine similarity.
        half_life_days: a vote so old counts half, one twice as old a quarter;
        least_vote: but none less than this.
        rivalry: how much a success of another master speaks against a label. At 0, one lucky
            success of anybody is a perfect record; at 1, an old success of one that fails by now
            hides the new one of another for days.
    """

    neighbours: int = 60
    width: float = 0.3
    half_life_days: float = 1.5
    least_vote: float = 0.1
    rivalry: float = 0.25


class Votes(NamedTuple):
    """What n tasks said about who should have them.

    Attributes:
        embeddings: shape (n, dim), float32, rows L2-normalised.
        labels: shape (n,), 0 to `classes` less one.
        evidence: shape (n,); a vote's strength. Positive: the label was right; negative: it was
            wrong, as the task failed under it.
        ages: shape (n,), days.
        tasks: shape (n,), whole numbers: which task each is from.
        classes: how many labels there are.
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[np.intp]
    evidence: NDArray[np.float64]
    ages: NDArray[np.float64]
    tasks: NDArray[np.intp]
    classes: int


def support(
    votes: Votes,
    asked: NDArray[np.float32],
    settings: Trust,
    without: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Return each label's share of the votes around texts.

    A label's share is what speaks for it, of all that speaks for or against it: an estimate of how
    often a task like this succeeds with that master.

    Args:
        votes: what is known.
        asked: shape (m, dim), float32, rows L2-normalised; a text that is itself among the known
            has its own vote, too.
        settings: how votes are weighed.
        without: shape (m,): task whose votes do not count for this text, so that it is predicted
            from others alone; None: all count.

    Returns:
        Array of shape (m, labels), 0-1.
    """
    count = votes.classes
    fading = np.maximum(0.5 ** (votes.ages / settings.half_life_days), settings.least_vote)
    strength = np.abs(votes.evidence) * fading
    speaks_for = votes.evidence > 0
    nearest = min(settings.neighbours + 1, len(strength))
    shares = np.zeros((len(asked), count))
    for start in range(0, len(asked), _BLOCK):
        likeness = asked[start : start + _BLOCK] @ votes.embeddings.T
        voters = np.argpartition(likeness, -nearest, axis=1)[:, -nearest:]
        close = np.take_along_axis(likeness, voters, axis=1)
        weight = strength[voters] * np.exp((close - 1.0) / settings.width)
        if without is not None:
            weight *= votes.tasks[voters] != without[start : start + _BLOCK, None]
        pro, contra = np.zeros((len(close), count)), np.zeros((len(close), count))
        cell = (np.arange(len(close))[:, None], votes.labels[voters])
        np.add.at(pro, cell, weight * speaks_for[voters])
        np.add.at(contra, cell, weight * ~speaks_for[voters])
        others = pro.sum(axis=1, keepdims=True) - pro
        total = pro + contra + settings.rivalry * others
        part = shares[start : start + _BLOCK]
        np.divide(pro, total, out=part, where=total > 0)
    return shares
