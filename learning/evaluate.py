"""Measures a router on labelled lines, beside the rules on the same lines.

Lines labelled `oos` are out of scope: they belong to no label. Where there are none, the router has
to answer every line, and its most probable label counts. Where there are some, abstaining is an
answer, too: the right one to them, a wrong one to every other line. What is said of confidence is
always said of lines in scope and the most probable label. A label that the router has never heard
of is in scope; it can only be answered wrongly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from contracts.errors import FatalError
from learning import metrics, selective
from learning.bootstrap import accuracies, interval, macro_f1s, resample
from learning.evaluation import Baseline, Evaluation, Figures, LabelFigures, OutOfScope
from learning.examples import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from learning.answers import Answers
    from learning.examples import Example
    from learning.selective import RiskCoverage, Roc

    Labels = NDArray[np.intp]

COVERAGES = (0.9, 0.8)


class Curves(NamedTuple):
    """What a report draws; of lines in scope, but for `roc`."""

    reliability: metrics.Bins
    router: RiskCoverage
    rules: RiskCoverage | None
    roc: Roc | None


class Measured(NamedTuple):
    """Result of `evaluate`.

    Attributes:
        wrong: shape (n,), which lines were answered wrongly.
        refused: shape (n,), where abstaining was the answer.
    """

    evaluation: Evaluation
    curves: Curves
    wrong: NDArray[np.bool_]
    refused: NDArray[np.bool_]


def evaluate(
    examples: Sequence[Example],
    answers: Answers,
    *,
    model: str,
    rules: Answers | None = None,
    fallback: Answers | None = None,
) -> Measured:
    """Measure a router. Weights of examples do not count.

    Args:
        examples: n lines.
        answers: the router's, to their texts.
        model: its version.
        rules: what the rules answered, where labels are masters.
        fallback: what was decided in the end, where rules take over.

    Raises:
        FatalError: no line is in scope, or none has a label that the router knows.
    """
    found = {each.label for each in examples} - {NONE}
    if not found & {*answers.labels}:
        raise FatalError("none of the lines has a label that the router knows")
    unknown = sorted(found - {*answers.labels})
    labels = (*answers.labels, *unknown)
    truth = np.array(
        [len(labels) if each.label == NONE else labels.index(each.label) for each in examples]
    )
    scope = truth < len(labels)
    counts_refusals = not scope.all()
    refused = answers.abstained & counts_refusals
    given = np.where(refused, len(labels), answers.chosen)
    named = (*labels, NONE) if counts_refusals else labels
    drawn = resample(truth, given)
    confusion = metrics.confusion_matrix(truth, given, len(named))

    inside, chosen = truth[scope], answers.chosen[scope]
    right, confidence = chosen == inside, answers.confidence[scope]
    probabilities = np.pad(answers.probabilities[scope], ((0, 0), (0, len(unknown))))
    bins = metrics.reliability(confidence, right)
    curve = selective.risk_coverage(confidence, right)
    of_rules = _aligned(rules, labels)[scope] if rules else None
    evaluation = Evaluation(
        model=model,
        n=len(truth),
        accuracy=float((given == truth).mean()),
        macro_f1=metrics.macro_f1(confusion),
        ece=metrics.calibration_error(bins),
        ece_equal_mass=metrics.calibration_error(metrics.reliability_by_rank(confidence, right)),
        brier=metrics.brier_score(inside, probabilities),
        log_loss=metrics.log_loss(inside, probabilities),
        per_master=_per_label(confusion, named),
        confusion=_named(confusion, named),
        baseline_rules=None if of_rules is None else _baseline(inside, chosen, of_rules, labels),
        accuracy_interval=interval(accuracies(drawn)),
        macro_f1_interval=interval(macro_f1s(drawn)),
        coverage={f"{100 * at:g}": selective.accuracy_at(curve, at) for at in COVERAGES},
        aurc=selective.aurc(curve),
        abstained=float(answers.abstained.mean()),
        with_fallback=_figures(inside, _aligned(fallback, labels)[scope]) if fallback else None,
        out_of_scope=_out_of_scope(answers, scope, right) if counts_refusals else None,
        unknown_labels=unknown,
    )
    return Measured(
        evaluation,
        Curves(
            bins,
            curve,
            None
            if rules is None or of_rules is None
            else selective.risk_coverage(rules.confidence[scope], of_rules == inside),
            selective.roc(answers.certainty[scope], answers.certainty[~scope])
            if counts_refusals
            else None,
        ),
        given != truth,
        refused,
    )


def _aligned(answers: Answers, labels: tuple[str, ...]) -> Labels:
    """Return the labels answered, as positions among others; all that are no label are one more."""
    where = [labels.index(each) if each in labels else len(labels) for each in answers.labels]
    return np.array(where, np.intp)[answers.chosen]


def _figures(truth: Labels, answer: Labels) -> Figures:
    drawn = resample(truth, answer)
    width = int(max(truth.max(), answer.max())) + 1
    return Figures(
        accuracy=float((truth == answer).mean()),
        macro_f1=metrics.macro_f1(metrics.confusion_matrix(truth, answer, width)),
        accuracy_interval=interval(accuracies(drawn)),
        macro_f1_interval=interval(macro_f1s(drawn)),
    )


def _baseline(truth: Labels, router: Labels, rules: Labels, labels: tuple[str, ...]) -> Baseline:
    drawn = resample(truth, router, rules)
    alone = _figures(truth, rules)
    confusion = metrics.confusion_matrix(truth, rules, len(labels) + 1)
    return Baseline(
        accuracy=alone.accuracy,
        macro_f1=alone.macro_f1,
        accuracy_interval=alone.accuracy_interval,
        macro_f1_interval=alone.macro_f1_interval,
        accuracy_gain=interval(accuracies(drawn, 0) - accuracies(drawn, 1)),
        macro_f1_gain=interval(macro_f1s(drawn, 0) - macro_f1s(drawn, 1)),
        per_master=_per_label(confusion, labels),
    )


def _out_of_scope(
    answers: Answers, scope: NDArray[np.bool_], right: NDArray[np.bool_]
) -> OutOfScope:
    return OutOfScope(
        n=int((~scope).sum()),
        auroc=selective.auroc(answers.certainty[scope], answers.certainty[~scope]),
        abstained=float(answers.abstained[~scope].mean()),
        in_scope_accuracy=float(right.mean()),
        in_scope_abstained=float(answers.abstained[scope].mean()),
    )


def _per_label(confusion: NDArray[np.int64], labels: tuple[str, ...]) -> dict[str, LabelFigures]:
    columns = zip(*(each.tolist() for each in metrics.per_label(confusion)), strict=True)
    return {label: LabelFigures(*each) for label, each in zip(labels, columns, strict=False)}


def _named(confusion: NDArray[np.int64], labels: tuple[str, ...]) -> dict[str, dict[str, int]]:
    return {
        label: dict(zip(labels, row, strict=True))
        for label, row in zip(labels, confusion.tolist(), strict=True)
    }
