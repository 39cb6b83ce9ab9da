"""What a router answers to a list of texts, as arrays; of models, of rules, and of both in turn."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from router.neural import NeuralModel
    from router.rules import RuleScore
    from vectors.types import Encoder

    Floats = NDArray[np.float32]

_BATCH = 64
_TIMED = 1_000  # texts; fewer say little of a 99th percentile
_WARMING = 50


class Answers(NamedTuple):
    """Answers to n texts.

    Attributes:
        labels: what is told apart; the next ones count in it.
        chosen: shape (n,), the label that is answered.
        probabilities: shape (n, labels), rows sum to 1.
        certainty: shape (n,), any scale; low where a text is like nothing the router knows.
        abstained: shape (n,), whether it would rather leave the text to somebody else.
    """

    labels: tuple[str, ...]
    chosen: NDArray[np.intp]
    probabilities: Floats
    certainty: Floats
    abstained: NDArray[np.bool_]

    @property
    def confidence(self) -> Floats:
        """Probability of the label that is answered, shape (n,)."""
        return self.probabilities[np.arange(len(self.chosen)), self.chosen]


class Latency(Struct, frozen=True):
    """Microseconds for one text, embedding and rules not counted.

    Attributes:
        own_encoder: whether the model's own encoder, which it runs itself, is in them.
    """

    p50: float
    p99: float
    own_encoder: bool


def of_rules(scored: Sequence[RuleScore], labels: tuple[str, ...]) -> Answers:
    """Return what rules said.

    Args:
        scored: of n texts, n >= 1.
        labels: all masters.
    """
    probabilities = np.array([[each.scores[name] for name in labels] for each in scored])
    chosen = np.array([labels.index(each.selected) for each in scored], np.intp)
    certainty = np.array([each.confidence for each in scored], np.float32)
    # Rules round what they print.
    probabilities /= probabilities.sum(1, keepdims=True)
    never = np.zeros(len(scored), bool)
    return Answers(labels, chosen, probabilities.astype(np.float32), certainty, never)


def of_model(
    model: NeuralModel,
    texts: Sequence[str],
    encoder: Encoder,
    scored: Sequence[RuleScore],
    progress: Callable[[int, int], None],
) -> Answers:
    """Embed texts and ask a model.

    Args:
        model: its embedder is `encoder`.
        texts: n, at least 1.
        encoder: embeds them.
        scored: what the rules say of each.
        progress: told how many are done, of how many.
    """
    probabilities, certainty = [], []
    for start in range(0, len(texts), _BATCH):
        part = slice(start, start + _BATCH)
        found = model.score(texts[part], encoder.encode(texts[part]), scored[part])
        probabilities.append(found.probabilities)
        certainty.append(found.certainty)
        progress(min(start + _BATCH, len(texts)), len(texts))
    return read(model, np.concatenate(probabilities), np.concatenate(certainty))


def read(model: NeuralModel, probabilities: Floats, certainty: Floats) -> Answers:
    """Return what scores come to by the model's thresholds, as its `predict` would.

    Args:
        model: which scored.
        probabilities: shape (n, labels).
        certainty: shape (n,).
    """
    given = model.config.thresholds
    thresholds = np.array([given.get(label, -math.inf) for label in model.labels], np.float32)
    chosen = probabilities.argmax(1)
    return Answers(model.labels, chosen, probabilities, certainty, certainty < thresholds[chosen])


def in_turn(first: Answers, second: Answers) -> Answers:
    """Return what a policy answers that leaves to the second what the first abstains on.

    Args:
        first: may abstain.
        second: knows every label of the first.
    """
    columns = np.array([second.labels.index(label) for label in first.labels])
    probabilities = second.probabilities.copy()
    kept = ~first.abstained
    probabilities[kept] = 0.0
    probabilities[np.flatnonzero(kept)[:, None], columns] = first.probabilities[kept]
    return Answers(
        second.labels,
        np.where(kept, columns[first.chosen], second.chosen),
        probabilities,
        first.certainty,
        second.abstained & first.abstained,
    )


def head_latency(
    model: NeuralModel, texts: Sequence[str], encoder: Encoder, scored: Sequence[RuleScore]
) -> Latency:
    """Time a model on one text after another, after some to warm up; arguments as of `of_model`."""
    texts = texts[:_TIMED]
    embedded = encoder.encode(texts)
    inputs = [
        ([text], embedded[number : number + 1], [scored[number]])
        for number, text in enumerate(texts)
    ]
    for each in inputs[:_WARMING]:
        model.score(*each)
    times = []
    for each in inputs:
        start = time.perf_counter_ns()
        model.score(*each)
        times.append(time.perf_counter_ns() - start)
    p50, p99 = np.percentile(times, [50, 99]) / 1e3
    return Latency(round(float(p50), 1), round(float(p99), 1), model.config.own_encoder)
