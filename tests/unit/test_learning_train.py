from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from chaos.faulty import WordEncoder
from contracts.errors import FatalError
from learning.design import Inputs, Lexicon
from learning.examples import NONE, Example, words_of
from learning.fitting import Known, evidence, fit
from learning.train import TrainSettings, _folds, _known, _look, fingerprint, train
from registry.opening import open_model
from router.features import Lexical, features
from router.masters import Masters
from router.rules import Rules

if TYPE_CHECKING:
    from pathlib import Path

    from learning.trained import Trained
    from router.neural import NeuralModel

MASTERS = Masters.parse(
    'fallback = "helper"\n'
    '[[master]]\nname = "baker"\ndescription = "Bakes bread and cakes."\nexamples = ["Knead it"]\n'
    '[[master]]\nname = "smith"\ndescription = "Forges iron."\nexamples = ["Hammer a nail"]\n'
    '[[master]]\nname = "helper"\ndescription = "Does the rest."\nexamples = ["Sweep the yard"]\n'
)
RULES = Rules.parse(
    'temperature = 5.0\n[[rule]]\nmaster = "baker"\nweight = 9\nwords = ["bread"]\n', MASTERS
)
SETTINGS = TrainSettings(folds=3)
BAKER = ("bread", "dough", "rolls", "cake", "oven", "flour", "yeast", "crust")
SMITH = ("iron", "anvil", "horseshoe", "forge", "nails", "steel", "hammer", "blade")
VERBS = ("prepare the", "look at the", "we need more", "who ordered", "mend the", "store the")
ENCODER = WordEncoder()


def lines(label: str, words: tuple[str, ...]) -> list[Example]:
    return [Example(f"{verb} {word}", label) for word in words for verb in VERBS]


DATA = lines("baker", BAKER) + lines("smith", SMITH) + lines("helper", ("yard", "stairs", "gate"))


def trained(data: list[Example] = DATA) -> Trained:
    return train(data, encoder=ENCODER, rules=RULES, masters=MASTERS, settings=SETTINGS)


def best(model: NeuralModel, texts: list[str]) -> list[str]:
    found = model.predict(texts, ENCODER.encode(texts), [RULES.score(each) for each in texts])
    return [max(each.scores, key=each.scores.__getitem__) for each in found]


def test_a_model_learns_writes_itself_and_answers_the_same_when_opened(tmp_path: Path) -> None:
    made = trained()
    version = made.write(tmp_path / "model")
    opened = open_model(tmp_path / "model", masters=MASTERS.names, embedder=ENCODER.identity)
    texts = ["bake the bread in the oven", "shape iron on the anvil", "sweep the stairs"]
    assert opened.version == version
    assert best(opened, texts) == ["baker", "smith", "helper"] == best(made.model(), texts)
    assert opened.config.trained_on == len(DATA) + 6  # each master's description and example


def test_training_repeats_itself_whatever_order_lines_come_in() -> None:
    one, two = trained(), trained()
    assert one.config == two.config
    assert all(np.array_equal(one.tensors[name], two.tensors[name]) for name in one.tensors)
    assert fingerprint(DATA) == fingerprint(DATA[::-1]) != fingerprint(DATA[1:])


def test_a_master_without_data_takes_part_by_what_is_said_of_it() -> None:
    without = [each for each in DATA if each.label != "helper"]
    model = trained(without).model()
    assert model.labels == MASTERS.names
    assert best(model, ["Sweep the yard"]) == ["helper"]


def test_what_the_background_says_is_learned() -> None:
    text = "polish the chandelier"
    more = [Example(f"{verb} chandelier", "helper") for verb in VERBS]
    made = train(
        DATA, encoder=ENCODER, rules=RULES, masters=MASTERS, background=more, settings=SETTINGS
    )
    assert best(made.model(), [text]) == ["helper"]
    assert made.config.trained_on == len(DATA) + 6 + len(more)


def test_background_that_is_asked_about_too_is_not_learned_beside_it() -> None:
    made = train(
        DATA, encoder=ENCODER, rules=RULES, masters=MASTERS, background=DATA, settings=SETTINGS
    )
    assert made.config == trained().config


def test_labels_that_are_no_masters_are_learned_without_rules() -> None:
    data = lines("bread", BAKER) + lines("metal", SMITH)
    made = train(data, encoder=ENCODER, rules=RULES, masters=MASTERS, settings=SETTINGS)
    assert made.config.labels == ("bread", "metal")
    assert made.config.rules == ()
    assert best(made.model(), ["more flour", "a steel blade"]) == ["bread", "metal"]


def test_a_labels_own_words_are_an_example_of_it_unless_it_is_a_code() -> None:
    said = {"please send it": "card_arrival", "how much is it": "exchange-rate", "x y z": "k9"}
    data = [Example(f"{verb} {text}", label) for verb in VERBS for text, label in said.items()]
    model = train(data, encoder=ENCODER, rules=None, masters=None).model()
    assert best(model, ["card arrival", "exchange rate"]) == ["card_arrival", "exchange-rate"]
    codes = ("k9", "12", "a_b")
    assert [words_of(label) for label in ("card_arrival", *codes)] == ["card arrival", "", "", ""]


def test_examples_of_none_show_where_to_abstain() -> None:
    odd = ("quantum", "galaxy", "sonnet", "tax", "pension", "whale", "opera", "glacier")
    none = [Example(f"explain {word} {other}", NONE) for word in odd for other in odd]
    data = lines("bread", BAKER) + lines("metal", SMITH)
    made = train(data + none, encoder=ENCODER, rules=None, masters=None, settings=SETTINGS)
    assert NONE not in made.config.labels
    texts = ["explain the whale opera", "who ordered more bread"]
    found = made.model().predict(
        texts, ENCODER.encode(texts), [RULES.score(each) for each in texts]
    )
    assert [each.abstained for each in found] == [True, False]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([Example("a", "one"), Example("b", "one")], "two labels"),
        ([Example("a", "one"), Example("b", "one"), Example("c", "two")], "2 examples of 'two'"),
        ([Example(text, label, 0.0) for text in "ab" for label in "xy"], "weight 0"),
    ],
)
def test_too_little_to_learn_from_is_said(data: list[Example], reason: str) -> None:
    with pytest.raises(FatalError, match=reason):
        train(data, encoder=ENCODER, rules=None, masters=None)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_training_and_deciding_weigh_a_text_alike(texts: list[str]) -> None:
    learned = [each.text for each in DATA[:20]]
    lexicon = Lexicon.of([features(text) for text in learned])
    chance = np.random.default_rng(0)
    weights = chance.standard_normal((len(lexicon.keys), 3)).astype(np.float32)
    texts = [*texts, f"{texts[0]} {learned[0]}"]
    matrix = lexicon.matrix([features(text) for text in texts])
    found = Lexical(lexicon.keys, lexicon.idf, weights).logits(texts)
    np.testing.assert_allclose(found, matrix @ weights, rtol=1e-3, atol=1e-4)


def test_both_heads_together_are_the_mean_of_their_logits() -> None:
    labels = ("baker", "smith", "helper")
    inputs = _look(
        [each.text for each in DATA],
        encoder=ENCODER,
        rules=None,
        seen=(),
        progress=lambda *_: None,
    )
    assert isinstance(inputs, Inputs)
    known = _known(DATA, labels, inputs)
    fitted = fit(known, 1.0, 3.0)
    halves = fitted.halves(inputs)
    tensors = fitted.tensors(inputs.scales, 0.25)
    lexical = Lexical(tensors["keys"], tensors["idf"], tensors["lexical"].astype(np.float32))
    logits = lexical.logits([each.text for each in DATA])
    logits = logits + inputs.embeddings @ tensors["dense"] + tensors["bias"]
    np.testing.assert_allclose(logits, halves.mixed(0.25), rtol=1e-2, atol=1e-2)


def test_a_feature_is_evidence_by_how_unevenly_labels_have_it() -> None:
    everywhere, of_one = np.ones(8), np.arange(8) < 4
    features = sparse.csr_matrix(np.stack([everywhere, of_one], axis=1).astype(np.float32))
    inputs = Inputs([[]] * 8, np.zeros((8, 1), np.float32), None, np.zeros((8, 0), np.float32))
    targets = np.where(of_one, 0, 1)
    found = evidence(features, Known(inputs, targets, np.ones(8, np.float32), 2))
    assert found.dtype == np.float32
    assert (found[1] > 10 * found[0]).all()
    assert np.sqrt(np.mean(found**2)) == pytest.approx(1.0, abs=1e-5)
    unheard = np.where(of_one, 1.0, 0.0).astype(np.float32)  # label 1 without weight
    assert (evidence(features, Known(inputs, targets, unheard, 2)) > 0).all()


def test_parts_of_a_source_are_held_back_together() -> None:
    sources = [f"org/{number % 12}#{'path' if number % 5 else 'lex'}" for number in range(120)]
    data = [
        Example(f"text {n}", "ab"[n % 7 % 2], source=source) for n, source in enumerate(sources)
    ]
    targets = np.array(["ab".index(each.label) for each in data])
    for learned, held in _folds(targets, data, len(data), TrainSettings(folds=4)):
        origins = [{data[row].origin for row in rows} for rows in (learned, held)]
        assert origins[0].isdisjoint(origins[1])
