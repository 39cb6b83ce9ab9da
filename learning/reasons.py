"""Which lines a router gets wrong, and why: the terms that spoke, and the most similar examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from router.rules import RuleScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from learning.answers import Answers
    from learning.examples import Example
    from router.neural import NeuralModel
    from router.rules import Rules
    from vectors.types import Encoder

    Floats = NDArray[np.float32]

_TERMS = 4
_NEIGHBOURS = 3
_BATCH = 256
_LEAST = float(np.finfo(np.float32).tiny)  # probability


class Term(Struct, frozen=True):
    """A piece of a text, and by how much it favours a label over another one, in log-odds."""

    term: str
    weight: float


class Neighbour(Struct, frozen=True):
    """A training example, and its cosine to the text."""

    text: str
    label: str
    similarity: float


class Wrong(Struct, frozen=True, kw_only=True):
    """A line that was answered wrongly.

    Attributes:
        number: position among the examples, from 1.
        answer: what was answered instead of `label`; of a line it abstained on, what it would have.
        abstained: whether the mistake is to have abstained.
        confidence: probability of `answer`.
        probability: of `label`; 0 where the router does not know it.
        parts: what words, embedding and rules each add to the log-odds of the answer over the label
            (over all other labels, where the router does not know it): what is gone without them.
        for_answer: terms that favoured the answer over the label, strongest first.
        for_label: terms that favoured the label, or whatever is not the answer where the router
            does not know it.
        rules: what the rules say, None where labels are no masters.
        rule_terms: what they found.
        neighbours: most similar training examples; empty unless these were given.
    """

    number: int
    text: str
    label: str
    answer: str
    abstained: bool
    confidence: float
    probability: float
    parts: dict[str, float]
    for_answer: list[Term]
    for_label: list[Term]
    rules: str | None
    rule_terms: tuple[str, ...]
    neighbours: list[Neighbour]


@dataclass(frozen=True)
class Known:
    """What there is to explain mistakes with, each as far as there is any.

    Attributes:
        model: whose terms are asked for.
        rules: whose terms are, too.
        examples: to look for neighbours in.
        encoder: embeds texts, to find them by.
    """

    model: NeuralModel | None = None
    rules: Rules | None = None
    examples: Sequence[Example] = ()
    encoder: Encoder | None = None


def worst(wrong: NDArray[np.bool_], answers: Answers, refused: NDArray[np.bool_]) -> list[int]:
    """Return the lines that are wrong: the surest mistakes first, needless abstentions last.

    Args:
        wrong: shape (n,).
        answers: to the n texts.
        refused: shape (n,), where abstaining was the answer.
    """
    order = np.lexsort([-answers.confidence, refused])
    return [int(line) for line in order if wrong[line]]


def explain(
    lines: Sequence[int],
    examples: Sequence[Example],
    answers: Answers,
    refused: NDArray[np.bool_],
    known: Known,
) -> list[Wrong]:
    """Explain mistakes.

    Args:
        lines: positions among the examples.
        examples: n lines.
        answers: to their texts.
        refused: shape (n,), where abstaining was the answer.
        known: what to explain them with.
    """
    found = []
    texts = [examples[line].text for line in lines]
    pairs = [(answers.labels[answers.chosen[line]], examples[line].label) for line in lines]
    more = zip(lines, _parts(texts, pairs, known), _neighbours(texts, known), strict=True)
    for line, parts, neighbours in more:
        text, label = examples[line].text, examples[line].label
        answer = answers.labels[answers.chosen[line]]
        knows = label in answers.labels
        of_label = answers.probabilities[line, answers.labels.index(label)] if knows else 0.0
        for_answer, for_label = _terms(known.model, text, answer, label)
        found.append(
            Wrong(
                number=line + 1,
                text=text,
                label=label,
                answer=answer,
                abstained=bool(refused[line]),
                confidence=float(answers.confidence[line]),
                probability=float(of_label),
                parts=parts,
                for_answer=for_answer,
                for_label=for_label,
                rules=known.rules.score(text).selected if known.rules else None,
                rule_terms=known.rules.explain(text) if known.rules else (),
                neighbours=neighbours,
            )
        )
    return found


def _terms(
    model: NeuralModel | None, text: str, answer: str, label: str
) -> tuple[list[Term], list[Term]]:
    """Return what favoured the answer over the label, and the other way round."""
    if model is None or answer == label:
        return [], []
    added = model.explain(text, answer)
    if label in model.labels:
        other = model.explain(text, label)
        added = [(piece, one - two) for (piece, one), (_, two) in zip(added, other, strict=True)]
    scale = model.config.temperature
    added = [(piece, weight / scale) for piece, weight in added]
    return _strongest(added), _strongest([(piece, -weight) for piece, weight in added])


def _strongest(added: list[tuple[str, float]]) -> list[Term]:
    favourable = sorted((each for each in added if each[1] > 0), key=lambda each: -each[1])
    return [Term(piece, round(weight, 3)) for piece, weight in favourable[:_TERMS]]


def _parts(
    texts: Sequence[str], pairs: Sequence[tuple[str, str]], known: Known
) -> list[dict[str, float]]:
    """Score each text again without its words, its embedding, and what the rules say of it."""
    model = known.model
    if not texts or model is None or known.encoder is None:
        return [{} for _ in texts]
    embedded = known.encoder.encode(texts)
    mute = RuleScore("", 0.0, {})
    scored = [known.rules.score(text) if known.rules else mute for text in texts]
    without = {
        "words": ([""] * len(texts), embedded, scored),
        "embedding": (texts, np.zeros_like(embedded), scored),
    }
    if model.config.rules:
        without["rules"] = (texts, embedded, [mute] * len(texts))
    whole = _log_odds(model, model.probabilities(texts, embedded, scored), pairs)
    lost = {
        name: whole - _log_odds(model, model.probabilities(*inputs), pairs)
        for name, inputs in without.items()
    }
    return [
        {name: round(float(values[line]), 3) for name, values in lost.items()}
        for line in range(len(texts))
    ]


def _log_odds(
    model: NeuralModel, probabilities: Floats, pairs: Sequence[tuple[str, str]]
) -> NDArray[np.float64]:
    wide = np.maximum(probabilities.astype(np.float64), _LEAST)
    odds = []
    for row, (answer, label) in zip(wide, pairs, strict=True):
        one = row[model.labels.index(answer)]
        known = label in model.labels and label != answer
        other = row[model.labels.index(label)] if known else max(1.0 - one, _LEAST)
        odds.append(np.log(one / other))
    return np.array(odds)


def _neighbours(texts: Sequence[str], known: Known) -> list[list[Neighbour]]:
    if not (texts and known.examples and known.encoder):
        return [[] for _ in texts]
    asked = known.encoder.encode(texts)
    parts = [
        known.examples[start : start + _BATCH] for start in range(0, len(known.examples), _BATCH)
    ]
    similarity = np.concatenate(
        [asked @ known.encoder.encode([each.text for each in part]).T for part in parts], axis=1
    )
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :_NEIGHBOURS]
    return [
        [
            Neighbour(known.examples[at].text, known.examples[at].label, round(float(row[at]), 3))
            for at in best
        ]
        for row, best in zip(similarity, nearest, strict=True)
    ]
