"""Compares routers on tasks of which one choice was tried: off-policy, by what neighbours say.

A success names the right master; a failure mostly does not. Whoever counted only tasks whose right
master is known would count the champion's successes and leave its failures out. Here every task
counts: where a router would have chosen as it was, by what came of it; elsewhere by how such tasks
went with that master (doubly robust, `learning.offpolicy`; `learning.denoise.support`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from learning.gate import Comparison
from learning.labels import evidence, reward
from learning.logged import Logged
from learning.offpolicy import doubly_robust, lift
from learning.risk import Scored

Choices = list[str]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from learning.records import Reported
    from router.neural import NeuralModel
    from router.rules import RuleScore


# Of a few dozen tasks, one that was explored at 1 % would decide alone; clipped, the estimate leans
# towards what neighbours say (Ionides 2008, "Truncated Importance Sampling").
_HEAVIEST = 10.0


class Routers(NamedTuple):
    """Whom three routers would have given each of n tasks to."""

    candidate: Choices
    champion: Choices
    rules: Choices


class Trial(NamedTuple):
    """What a round measured on tasks that were held back.

    Attributes:
        scored: how certain the candidate was of those whose right master is known.
    """

    comparison: Comparison
    scored: Scored

    @property
    def risk_of_rules(self) -> float:
        """Share of them that the rules got wrong."""
        otherwise = self.scored.otherwise
        return 1.0 if otherwise is None or not len(otherwise) else float(1.0 - otherwise.mean())


def choices(
    model: NeuralModel | None,
    texts: Sequence[str],
    embeddings: NDArray[np.float32],
    rules: Sequence[RuleScore],
) -> list[str]:
    """Return whom tasks would go to; where a model abstains, or is None, the rules say."""
    if model is None:
        return [each.selected for each in rules]
    return [
        rule.selected if each.abstained else max(each.scores, key=each.scores.__getitem__)
        for each, rule in zip(model.predict(texts, embeddings, rules), rules, strict=True)
    ]


def scored(
    model: NeuralModel,
    reported: Sequence[Reported],
    embeddings: NDArray[np.float32],
    rules: Sequence[RuleScore],
) -> Scored:
    """Lay out how certain a model is of those tasks whose right master is known.

    Args:
        model: it has not seen the tasks.
        reported: n tasks.
        embeddings: shape (n, dim), of their texts.
        rules: n scores.
    """
    spoken = [evidence(each.outcome) for each in reported]
    named = [
        each.outcome.outcome != "failed" and said.weight > 0
        for each, said in zip(reported, spoken, strict=True)
    ]
    known = np.flatnonzero(named).tolist()
    right = np.array([spoken[row].label for row in known], object)
    texts, rules = [reported[row].decision.text for row in known], [rules[row] for row in known]
    probabilities, certainty = model.score(texts, embeddings[known], rules)
    predicted = np.array([model.labels[best] for best in probabilities.argmax(1)], object)
    by_rules = np.array([each.selected for each in rules], object)
    return Scored(certainty, predicted == right, predicted.tolist(), by_rules == right)


def compare(
    reported: Sequence[Reported],
    expected: NDArray[np.float64],
    masters: Sequence[str],
    routers: Routers,
) -> Comparison:
    """Compare three routers on n tasks.

    Args:
        reported: the tasks, with what was decided and how it went.
        expected: shape (n, masters): chance of success of each, from other tasks alone
            (`learning.denoise.support`).
        masters: the columns.
        routers: whom each would have chosen.
    """
    logged = Logged(
        np.array([reward(each) for each in reported]),
        np.array([masters.index(each.decision.selected_master) for each in reported], np.intp),
        np.maximum([each.decision.propensity for each in reported], 1 / _HEAVIEST),
    )
    certain = np.eye(len(masters))
    chosen = [certain[[masters.index(name) for name in each]] for each in routers]
    values = [doubly_robust(logged, each, expected).value for each in chosen]
    difference = lift(logged, chosen[0], chosen[1], expected)
    return Comparison(
        n=len(reported),
        candidate=values[0],
        champion=values[1],
        rules=values[2],
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        ess=difference.ess,
    )
