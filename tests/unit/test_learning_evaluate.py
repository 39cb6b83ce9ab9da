"""What counts as right, beside the rules and out of scope; and why lines are wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from chaos.faulty import WordEncoder
from contracts.errors import FatalError
from learning.answers import Answers, head_latency, in_turn, of_model, of_rules
from learning.assess import Control, Explaining, Neural, assess
from learning.evaluate import evaluate
from learning.evaluation import Evaluation
from learning.examples import Example
from learning.reasons import worst
from learning.train import TrainSettings, train
from router.masters import Masters
from router.rules import Rules, RuleScore

if TYPE_CHECKING:
    from learning.trained import Trained

MASTERS = Masters.parse(
    'fallback = "helper"\n'
    '[[master]]\nname = "baker"\ndescription = "Bakes bread and cakes."\nexamples = ["Knead it"]\n'
    '[[master]]\nname = "smith"\ndescription = "Forges iron."\nexamples = ["Hammer a nail"]\n'
    '[[master]]\nname = "helper"\ndescription = "Does the rest."\nexamples = ["Sweep the yard"]\n'
)
RULES = Rules.parse(
    'temperature = 5.0\n[[rule]]\nmaster = "baker"\nweight = 9\nwords = ["bread", "oven"]\n',
    MASTERS,
)
CONTROL = Control(rules=RULES, masters=MASTERS)
ENCODER = WordEncoder()
VERBS = ("prepare the", "look at the", "we need more", "who ordered", "mend the", "store the")
WORDS = {
    "baker": ("bread", "dough", "rolls", "cake", "oven", "flour"),
    "smith": ("iron", "anvil", "horseshoe", "forge", "nails", "steel"),
    "helper": ("yard", "stairs", "gate", "floor", "fence", "roof"),
}


def lines(words: dict[str, tuple[str, ...]], verbs: tuple[str, ...] = VERBS) -> list[Example]:
    return [
        Example(f"{verb} {noun}", label)
        for label, nouns in words.items()
        for noun in nouns
        for verb in verbs
    ]


@cache
def trained(labels: tuple[str, ...] = MASTERS.names) -> Trained:
    """Train on `WORDS`, whose labels may go by other names."""
    data = lines(dict(zip(labels, WORDS.values(), strict=True)))
    settings = TrainSettings(folds=3)
    return train(data, encoder=ENCODER, rules=RULES, masters=MASTERS, settings=settings)


def router() -> Neural:
    return Neural(trained().model("v1"), ENCODER)


def answers(rows: list[list[float]], abstained: list[bool] | None = None) -> Answers:
    probabilities = np.array(rows, np.float32)
    unsure = np.array(abstained or [False] * len(rows))
    top = probabilities.max(1)
    return Answers(("a", "b"), probabilities.argmax(1), probabilities, top, unsure)


def examples(*labels: str) -> list[Example]:
    return [Example(f"text {number}", label) for number, label in enumerate(labels)]


def test_figures_of_a_case_worked_out_by_hand() -> None:
    said = answers([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    found = evaluate(examples("a", "b", "b", "b"), said, model="m").evaluation
    assert found.n == 4
    assert found.accuracy == 0.75
    assert found.confusion == {"a": {"a": 1, "b": 0}, "b": {"a": 1, "b": 2}}
    assert found.per_master["b"].recall == pytest.approx(2 / 3)
    assert found.per_master["b"].support == 3
    assert found.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.3 + 0.4) / 4)
    assert found.coverage == {"90": 0.75, "80": 0.75}
    assert found.baseline_rules is found.out_of_scope is found.with_fallback is None


def test_without_lines_out_of_scope_every_line_has_to_be_answered() -> None:
    said = answers([[0.9, 0.1], [0.6, 0.4]], [False, True])
    found = evaluate(examples("a", "a"), said, model="m")
    assert found.evaluation.accuracy == 1.0
    assert found.evaluation.abstained == 0.5
    assert "oos" not in found.evaluation.confusion


def test_where_lines_are_out_of_scope_abstaining_is_right_on_them_and_wrong_on_others() -> None:
    said = answers([[0.9, 0.1], [0.6, 0.4], [0.55, 0.45], [0.8, 0.2]], [False, True, True, False])
    measured = evaluate(examples("a", "a", "oos", "oos"), said, model="m")
    found = measured.evaluation
    assert measured.wrong.tolist() == [False, True, False, True]
    assert found.accuracy == 0.5
    assert found.confusion["a"] == {"a": 1, "b": 0, "oos": 1}
    assert found.confusion["oos"] == {"a": 1, "b": 0, "oos": 1}
    assert found.out_of_scope is not None
    assert found.out_of_scope.in_scope_accuracy == 1.0
    assert found.out_of_scope.abstained == found.out_of_scope.in_scope_abstained == 0.5
    assert found.out_of_scope.auroc == 0.75
    assert found.ece == pytest.approx((0.1 + 0.4) / 2)  # of lines in scope


def test_a_label_the_router_has_never_heard_of_is_wrong_and_named() -> None:
    said = answers([[0.9, 0.1], [0.8, 0.2]])
    found = evaluate(examples("a", "c"), said, model="m").evaluation
    assert found.unknown_labels == ["c"]
    assert found.accuracy == 0.5
    assert found.confusion["c"] == {"a": 1, "b": 0, "c": 0}
    assert math.isfinite(found.log_loss)


@pytest.mark.parametrize("labels", [("c", "d"), ("oos", "oos")])
def test_data_of_another_kind_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(FatalError, match="none of the lines has a label that the router knows"):
        evaluate(examples(*labels), answers([[0.9, 0.1], [0.8, 0.2]]), model="m")


def test_the_rules_are_measured_on_the_same_lines() -> None:
    router = answers([[0.9, 0.1]] * 50 + [[0.1, 0.9]] * 50)
    rules = answers([[0.9, 0.1]] * 100)
    found = evaluate(examples(*"a" * 50, *"b" * 50), router, model="m", rules=rules).evaluation
    assert found.baseline_rules is not None
    assert (found.accuracy, found.baseline_rules.accuracy) == (1.0, 0.5)
    low, high = found.baseline_rules.accuracy_gain
    assert 0.35 < low < 0.5 < high < 0.65
    assert found.baseline_rules.per_master["b"].recall == 0.0


def test_ties_of_the_rules_count_for_the_fallback_as_they_do_in_decisions() -> None:
    scored = [RuleScore("helper", 0.2, {"baker": 0.4, "smith": 0.4, "helper": 0.2})]
    said = of_rules(scored, MASTERS.names)
    assert said.labels[said.chosen[0]] == "helper"
    assert said.confidence.tolist() == pytest.approx([0.2])


def test_rules_take_over_where_a_model_abstains_and_nowhere_else() -> None:
    first = Answers(
        ("smith", "baker"),
        np.array([0, 1]),
        np.array([[0.9, 0.1], [0.2, 0.8]], np.float32),
        np.array([2.0, -1.0], np.float32),
        np.array([False, True]),
    )
    second = of_rules([RULES.score("bread"), RULES.score("what")], MASTERS.names)
    both = in_turn(first, second)
    assert [both.labels[each] for each in both.chosen] == ["smith", "helper"]
    np.testing.assert_allclose(both.probabilities[0], [0.1, 0.9, 0.0])
    np.testing.assert_allclose(both.probabilities.sum(1), 1.0, rtol=1e-6)


def test_a_model_is_read_as_its_own_predict_reads_it() -> None:
    texts = [each.text for each in lines(WORDS)] + ["quarks and gluons", "?", "zzz"]
    scored = [RULES.score(text) for text in texts]
    certainty = trained().model().score(texts, ENCODER.encode(texts), scored).certainty
    low, high = np.quantile(certainty, [0.2, 0.5]).tolist()
    config = msgspec.structs.replace(trained().config, thresholds={"baker": low, "smith": high})
    model = replace(trained(), config=config).model()
    said = of_model(model, texts, ENCODER, scored, lambda _done, _of: None)
    predictions = model.predict(texts, ENCODER.encode(texts), scored)
    assert 0 < said.abstained.sum() < len(texts)
    for line, prediction in enumerate(predictions):
        assert bool(said.abstained[line]) == prediction.abstained
        best = max(prediction.scores, key=prediction.scores.__getitem__)
        assert said.labels[said.chosen[line]] == best
        assert said.confidence[line] == pytest.approx(prediction.scores[best])


def test_the_time_of_a_head_is_that_of_one_text() -> None:
    texts = ["prepare the bread"] * 60
    found = head_latency(trained().model(), texts, ENCODER, [*map(RULES.score, texts)])
    assert 1 < found.p50 <= found.p99  # microseconds
    assert not found.own_encoder


def test_a_model_of_masters_is_compared_with_the_rules_and_completed_by_them() -> None:
    told: list[tuple[int, int]] = []
    data = lines(WORDS, ("polish the", "where is the"))
    measured = assess(data, router(), CONTROL, progress=lambda *each: told.append(each))
    found = measured.evaluation
    assert found.accuracy > 0.9
    assert found.baseline_rules is not None
    assert found.baseline_rules.accuracy == pytest.approx((2 * 2 + 2 * 6) / 36)
    assert found.with_fallback is not None
    assert measured.curves.rules is not None
    assert found.model == "v1"
    assert found.latency_us is not None
    assert told[-1] == (36, 36)


def test_a_model_of_anything_else_is_not() -> None:
    model = trained(("sweet", "hard", "plain")).model("v1")
    data = lines(dict(zip(("sweet", "hard", "plain"), WORDS.values(), strict=True)), ("see",))
    found = assess(data, Neural(model, ENCODER), CONTROL, explaining=Explaining(wrong=9)).evaluation
    assert found.accuracy > 0.9
    assert found.baseline_rules is found.with_fallback is None
    assert all(each.rules is None for each in found.wrong)


def test_rules_alone_are_evaluated_like_any_router() -> None:
    found = assess(lines(WORDS), None, CONTROL, explaining=Explaining(wrong=1)).evaluation
    assert found.model == f"rules {RULES.version}"
    assert found.baseline_rules is not None
    assert found.accuracy == found.baseline_rules.accuracy
    assert found.baseline_rules.accuracy_gain == (0.0, 0.0)
    assert found.latency_us is found.with_fallback is None
    assert found.wrong[0].parts == {}
    assert found.wrong[0].rules == "helper"


def test_a_wrong_line_says_what_spoke_for_it_and_what_is_like_it() -> None:
    data = [Example("store the iron", "baker"), Example("prepare the dough", "baker")]
    known = Explaining(wrong=5, training=lines(WORDS))
    found = assess(data, router(), CONTROL, explaining=known).evaluation
    (wrong,) = found.wrong
    assert (wrong.number, wrong.label, wrong.answer) == (1, "baker", "smith")
    assert wrong.for_answer[0].term == "iron"
    assert wrong.for_answer[0].weight > 0
    assert wrong.confidence > wrong.probability
    assert wrong.parts.keys() == {"words", "embedding", "rules"}
    assert (wrong.rules, wrong.rule_terms) == ("helper", ())
    assert (wrong.neighbours[0].text, wrong.neighbours[0].label) == ("store the iron", "smith")
    assert wrong.neighbours[0].similarity == pytest.approx(1.0)
    assert found.seen_in_training == 2


def test_terms_and_parts_are_on_one_scale() -> None:
    """A word alone makes no pairs, so what it adds is all that words add."""
    (wrong,) = assess(
        [Example("iron", "baker"), Example("dough", "baker")],
        router(),
        CONTROL,
        explaining=Explaining(wrong=1),
    ).evaluation.wrong
    (term,) = wrong.for_answer
    assert term.term == "iron"
    assert term.weight == pytest.approx(wrong.parts["words"], rel=0.02)


def test_what_the_rules_said_shows_among_the_parts() -> None:
    data = [Example("oven", "smith"), Example("iron", "smith")]
    found = assess(data, router(), CONTROL, explaining=Explaining(wrong=1)).evaluation
    assert found.wrong[0].parts["rules"] > 0
    assert found.wrong[0].rule_terms == ("oven",)


def test_the_surest_mistakes_come_first_and_needless_abstentions_last() -> None:
    said = answers(
        [[0.6, 0.4], [0.9, 0.1], [0.99, 0.01], [0.7, 0.3], [0.8, 0.2]],
        [False, False, True, False, False],
    )
    measured = evaluate(examples("b", "b", "a", "a", "oos"), said, model="m")
    assert worst(measured.wrong, said, measured.refused) == [1, 4, 0, 2]


def test_a_mistake_on_a_line_out_of_scope_is_explained_against_all_labels() -> None:
    data = [Example("look at the iron", "oos"), Example("prepare the dough", "baker")]
    found = assess(data, router(), CONTROL, explaining=Explaining(wrong=5)).evaluation
    (wrong,) = [each for each in found.wrong if each.label == "oos"]
    assert (wrong.answer, wrong.abstained, wrong.probability) == ("smith", False, 0.0)
    assert wrong.for_answer[0].term == "iron"
    assert all(math.isfinite(value) for value in wrong.parts.values())


def test_figures_travel_as_json() -> None:
    found = assess(lines(WORDS), router(), CONTROL, explaining=Explaining(wrong=3)).evaluation
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found
