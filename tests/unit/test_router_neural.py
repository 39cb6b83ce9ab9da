"""What a head answers, beside the same worked out step by step in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save

from router.features import features
from router.neural import ModelConfig, NeuralModel, rule_features
from router.rules import RuleScore

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = ("baker", "smith", "helper", "nobody")
DIM, OWN_DIM, PROTOTYPES = 8, 6, 7
KNOWN = "hello you there, shape the iron"
TEXTS = ("hello you", "zzz", "", "Shape 12 the-iron the iron\tthere", f"{KNOWN} " * 70)
SCORED = tuple(
    RuleScore("baker", 0.5, scores)
    for scores in (
        {"baker": 0.5, "smith": 0.5},
        {"baker": 1.0},
        {},
        {"smith": 0.2, "helper": 0.8},
        {"baker": 0.1, "smith": 0.2, "helper": 0.7},
    )
)
CHANCE = np.random.default_rng(0)
EMBEDDINGS = CHANCE.standard_normal((len(TEXTS), DIM)).astype(np.float32)
OWN = dict(zip(TEXTS, CHANCE.standard_normal((len(TEXTS), OWN_DIM)), strict=True))


class Head:
    """A random one, and its answers."""

    def __init__(self, rules: tuple[str, ...], *, own: bool) -> None:
        keys = np.array([*dict.fromkeys(features(KNOWN))][::2], np.uint32)
        compared = OWN_DIM if own else DIM
        inputs = DIM + own * OWN_DIM + len(rules)
        shapes = {
            "idf": (len(keys),),
            "lexical": (len(keys), len(LABELS)),
            "dense": (inputs, len(LABELS)),
            "bias": (len(LABELS),),
            "prototypes": (PROTOTYPES, compared),
        }
        self.own = own
        self.tensors = {
            name: CHANCE.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
        } | {"keys": keys}
        self.config = ModelConfig(
            labels=LABELS,
            embedder="words",
            dim=DIM,
            rules=rules,
            temperature=1.3,
            certainty=(0.5, 0.6, 0.7),
            own_encoder=own,
        )
        encode = (
            (lambda texts: np.array([OWN[each] for each in texts], np.float32)) if own else None
        )
        self.model = NeuralModel.build(
            msgspec.json.encode(self.config), save(self.tensors), "1", encode
        )

    def expected(self, row: int) -> tuple[NDArray[np.float64], float]:
        """Probabilities and certainty of one text."""
        tensors = {name: each.astype(np.float64) for name, each in self.tensors.items()}
        compared = OWN[TEXTS[row]] if self.own else EMBEDDINGS[row]
        blocks = [EMBEDDINGS[row], compared] if self.own else [compared]
        if self.config.rules:
            blocks.append(rule_features([SCORED[row]], self.config.rules)[0])
        logits = np.concatenate(blocks) @ tensors["dense"] + tensors["bias"]
        place = {key: at for at, key in enumerate(self.tensors["keys"].tolist())}
        if found := [place[each] for each in features(TEXTS[row]) if each in place]:
            idf = tensors["idf"][found]
            logits += idf @ tensors["lexical"][found] / math.sqrt(idf @ idf)
        odds = np.exp(logits / self.config.temperature)
        probabilities = odds / odds.sum()
        second, first = np.sort(probabilities)[-2:]
        similarity = (tensors["prototypes"] @ compared).max()
        weighed = (math.log(odds.sum()), first - second, similarity)
        return probabilities, float(np.dot(self.config.certainty, weighed))


HEADS = [(rules, own) for rules in ((), LABELS[:3]) for own in (False, True)]


@pytest.mark.parametrize(("rules", "own"), HEADS)
def test_a_head_answers_what_its_weights_come_to(rules: tuple[str, ...], *, own: bool) -> None:
    head = Head(rules, own=own)
    scores = head.model.score(TEXTS, EMBEDDINGS, SCORED)
    for row in range(len(TEXTS)):
        probabilities, certainty = head.expected(row)
        np.testing.assert_allclose(scores.probabilities[row], probabilities, atol=2e-5)
        assert scores.certainty[row] == pytest.approx(certainty, abs=2e-5)
    assert scores.probabilities.dtype == scores.certainty.dtype == np.float32


@pytest.mark.parametrize(("rules", "own"), HEADS)
def test_company_changes_no_answer(rules: tuple[str, ...], *, own: bool) -> None:
    head = Head(rules, own=own)
    together = head.model.predict(TEXTS, EMBEDDINGS, SCORED)
    for row, text in enumerate(TEXTS):
        [alone] = head.model.predict([text], EMBEDDINGS[row : row + 1], SCORED[row : row + 1])
        assert alone.scores == pytest.approx(together[row].scores, abs=1e-5)


def test_no_text_is_no_answer() -> None:
    assert Head((), own=False).model.predict([], EMBEDDINGS[:0], []) == []


def test_rules_of_another_number_of_texts_are_an_error() -> None:
    with pytest.raises(ValueError, match="reshape"):
        Head(LABELS[:3], own=False).model.score(TEXTS, EMBEDDINGS, SCORED[:1])


def test_rule_features_have_mean_0_and_a_floor() -> None:
    rows = rule_features(SCORED, LABELS[:3])
    np.testing.assert_allclose(rows.mean(1), 0, atol=1e-6)
    assert rows[1, 0] - rows[1, 1] == pytest.approx(math.log(1.0 / 1e-3), abs=1e-5)
    assert rows[2].tolist() == [0, 0, 0]
