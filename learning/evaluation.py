"""The figures of an evaluation; `learning.evaluate` finds them, and says what counts as right."""

from __future__ import annotations

from msgspec import Struct

from learning.answers import Latency
from learning.bootstrap import Interval
from learning.reasons import Wrong


class LabelFigures(Struct, frozen=True):
    """How one label fares; `support` is how many lines have it."""

    precision: float
    recall: float
    f1: float
    support: int


class Figures(Struct, frozen=True, kw_only=True):
    """How a router fares on lines in scope, with 95 % bootstrap intervals."""

    accuracy: float
    macro_f1: float
    accuracy_interval: Interval
    macro_f1_interval: Interval


class Baseline(Figures, frozen=True, kw_only=True):
    """The rules on the same lines.

    Attributes:
        accuracy_gain: interval of the router's accuracy in scope less that of the rules, lines
            being drawn for both at once.
        macro_f1_gain: the same of macro-F1.
    """

    accuracy_gain: Interval
    macro_f1_gain: Interval
    per_master: dict[str, LabelFigures]


class OutOfScope(Struct, frozen=True, kw_only=True):
    """How lines of no label are told from others.

    Attributes:
        n: how many there are.
        auroc: of certainty; probability that a line in scope is surer than one that is not.
        abstained: share of them that the router abstained on, their recall.
        in_scope_accuracy: most probable label against truth, as if the router never abstained.
        in_scope_abstained: share of lines in scope that it abstained on.
    """

    n: int
    auroc: float
    abstained: float
    in_scope_accuracy: float
    in_scope_abstained: float


class Evaluation(Struct, frozen=True, kw_only=True):
    """All figures; what `cortex evaluate --json` prints.

    Attributes:
        model: version of the router.
        n: lines.
        accuracy: share of lines answered rightly; for when abstaining counts, see the module.
        macro_f1: mean F1 of the labels that occur.
        ece: expected calibration error, 15 bins of equal width.
        ece_equal_mass: the same with bins that hold equally many.
        brier: mean squared distance to the truth, 0-2.
        log_loss: in nats.
        per_master: by label.
        confusion: true label -> answer -> lines.
        baseline_rules: None where labels are no masters.
        accuracy_interval: 95 %, by bootstrap.
        macro_f1_interval: likewise.
        coverage: percent of lines answered, the surest -> accuracy on them.
        aurc: area under the risk-coverage curve.
        abstained: share of lines the router abstained on.
        with_fallback: what is decided in the end: by rules where the router abstains.
        out_of_scope: None where no line is.
        unknown_labels: labels of lines that the router has never heard of.
        seen_in_training: lines whose text stands in the training file; None if none was given.
        latency_us: of the head; None for rules.
        wrong: lines that were answered wrongly, as many as were asked for.
    """

    model: str
    n: int
    accuracy: float
    macro_f1: float
    ece: float
    ece_equal_mass: float
    brier: float
    log_loss: float
    per_master: dict[str, LabelFigures]
    confusion: dict[str, dict[str, int]]
    baseline_rules: Baseline | None
    accuracy_interval: Interval
    macro_f1_interval: Interval
    coverage: dict[str, float]
    aurc: float
    abstained: float
    with_fallback: Figures | None
    out_of_scope: OutOfScope | None
    unknown_labels: list[str]
    seen_in_training: int | None = None
    latency_us: Latency | None = None
    wrong: list[Wrong] = []
