"""What a decision and its outcome teach: a label for training, a reward for judging policies.

A label is evidence about who should have had the task:

* `success` speaks for the master that reports it, by its score (1 where it gives none);
* `rerouted` with `correct_master` speaks for that one, by 1;
* `rerouted` without speaks against the master that reports it, by 1;
* `failed` speaks for the master that reports it, but hardly: by `FAILED_WEIGHT`. Right masters fail
  too, and a class in which much fails must not vanish from training.

A text that was routed several times is one example. Evidence on it adds up per label, what speaks
against a label is taken off, and the heaviest label wins (weighted majority: N. Littlestone and
M. Warmuth, The Weighted Majority Algorithm, Information and Computation 108, 1994); of equals the
one that was spoken for last. What the others weigh takes from the example's weight.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from learning.examples import Example

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from learning.records import OutcomeRecord, Reported

FAILED_WEIGHT = 0.1


class Evidence(NamedTuple):
    """What one outcome says of one label; a weight below 0 speaks against it."""

    label: str
    weight: float


class Lessons(NamedTuple):
    """What rows teach.

    Attributes:
        examples: one per text, in the order in which the texts were last decided.
        unknown: how many outcomes spoke of each master that is not among those asked for.
        unlabelled: texts of which no label is left: nothing speaks for one, or as much against.
        contested: texts of which more than one label is left.
    """

    examples: list[Example]
    unknown: Counter[str]
    unlabelled: int
    contested: int


def evidence(outcome: OutcomeRecord) -> Evidence:
    """Say whom an outcome speaks for, or against.

    Returns:
        The label, and a weight in [-1, 1].
    """
    if outcome.outcome == "success":
        return Evidence(outcome.master, 1.0 if outcome.score is None else outcome.score)
    if outcome.outcome == "failed":
        return Evidence(outcome.master, FAILED_WEIGHT)
    if outcome.correct_master is not None:
        return Evidence(outcome.correct_master, 1.0)
    return Evidence(outcome.master, -1.0)


def reward(reported: Reported) -> float:
    """Reward of choosing `selected_master`, in [0, 1].

    The score of a success, 1 where it gives none; 0 for what failed or was passed on, also where
    the master it was passed on to had success.
    """
    decision, outcome = reported
    if outcome.outcome != "success" or outcome.master != decision.selected_master:
        return 0.0
    return 1.0 if outcome.score is None else outcome.score


def teach(rows: Iterable[Reported], masters: Collection[str] | None = None) -> Lessons:
    """Make training examples of rows.

    Args:
        rows: in the order in which they were decided; read once, so they may come from a file.
        masters: the labels that exist; evidence on others counts as unknown. None takes all.

    Returns:
        Examples whose weight is in (0, 1]: the share of the winning label in all that is left for
        the text, times its own weight, which no repetition makes more than 1. Their source is the
        repository of the task.
    """
    texts: dict[str, _Text] = {}
    unknown: Counter[str] = Counter()
    for decision, outcome in rows:
        label, weight = evidence(outcome)
        if masters is not None and label not in masters:
            unknown[label] += 1
            continue
        known = texts[decision.text] = texts.pop(decision.text, _Text())
        known.add(label, weight, decision.repo)
    left = {text: known.left() for text, known in texts.items()}
    return Lessons(
        [
            Example(text, *_winner(weights), texts[text].source)
            for text, weights in left.items()
            if weights
        ],
        unknown,
        unlabelled=sum(not weights for weights in left.values()),
        contested=sum(len(weights) > 1 for weights in left.values()),
    )


@dataclass(slots=True)
class _Text:
    weights: dict[str, float] = field(default_factory=dict)  # the label spoken for last is last
    source: str | None = None

    def add(self, label: str, weight: float, source: str | None) -> None:
        before = self.weights.pop(label, 0.0) if weight > 0 else self.weights.get(label, 0.0)
        self.weights[label] = before + weight
        self.source = source or self.source

    def left(self) -> dict[str, float]:
        return {label: weight for label, weight in self.weights.items() if weight > 0}


def _winner(weights: dict[str, float]) -> tuple[str, float]:
    last_first = reversed(weights.items())
    label, weight = max(last_first, key=lambda each: each[1])
    return label, min(1.0, weight) * (weight / sum(weights.values()))
