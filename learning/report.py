"""An evaluation for people to read: what was measured, drawn, and why lines are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import FatalError
from learning.plots import MOST_LABELS, plots, shown_labels
from learning.reasons import Term
from learning.rendering import Case, Heading, Paragraph, Picture, Table, to_html, to_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from learning.bootstrap import Interval
    from learning.evaluate import Curves, Measured
    from learning.evaluation import Evaluation
    from learning.reasons import Wrong
    from learning.rendering import Block

SUFFIXES = (".html", ".md")
_MOST_CONFUSED = 12
_LONGEST = 400  # characters of a task that are quoted

_CAPTIONS = {
    "confusion": (
        "Rows are true labels, columns what was answered; shade is the share of the row."
    ),
    "reliability": (
        "How often answers of a confidence are right. Below the dashed line the router is surer"
        " than it should be. Grey: the share of lines in each bin."
    ),
    "risk": (
        "How much is wrong if only the surest lines are answered. Lower is better; a curve that"
        " rises to the right has a confidence worth heeding."
    ),
    "roc": ("Whether certainty tells lines that belong to a label from those that belong to none."),
}


def write_report(path: Path, measured: Measured, data: str) -> None:
    """Write a report. The same evaluation gives the same bytes.

    Args:
        path: ends in `.html`, one self-contained page, or in `.md`, with PNG files beside it.
        measured: what to report.
        data: name of what was evaluated on.

    Raises:
        FatalError: the path ends otherwise, or cannot be written.
    """
    check_path(path)
    evaluation, curves = measured.evaluation, measured.curves
    title = f"Evaluation of {evaluation.model} on {data}"
    blocks = content(evaluation, curves)
    try:
        if path.suffix == ".html":
            path.write_text(to_html(title, blocks, plots(evaluation, curves, "svg")), "utf-8")
            return
        for name, picture in plots(evaluation, curves, "png").items():
            path.with_name(_file_of(path, name)).write_bytes(picture)
        path.write_text(to_markdown(title, blocks, lambda name: _file_of(path, name)), "utf-8")
    except OSError as error:
        raise FatalError(f"cannot write {error.filename}: {error.strerror}") from error


def check_path(path: Path) -> None:
    """Refuse, before work is spent on it, what no report can be written to.

    Raises:
        FatalError: it ends in neither `.html` nor `.md`, or its folder is not there.
    """
    if path.suffix not in SUFFIXES:
        raise FatalError(f"a report is written to a file in {' or '.join(SUFFIXES)}, not {path}")
    if not path.parent.is_dir():
        raise FatalError(f"cannot write {path}: there is no folder {path.parent}")


def content(evaluation: Evaluation, curves: Curves) -> list[Block]:
    """Return what a report says, from the most to the least important."""
    return [
        *(Paragraph(text) for text in summary(evaluation)),
        Heading("Figures"),
        *figures(evaluation),
        *_confused(evaluation),
        Heading("Confidence"),
        *(Picture(name, _CAPTIONS[name]) for name in ("reliability", "risk")),
        *([] if curves.roc is None else [Picture("roc", _CAPTIONS["roc"])]),
        *_wrong(evaluation),
    ]


def summary(evaluation: Evaluation) -> list[str]:
    """Say in sentences what matters most."""
    between = _between(evaluation.accuracy_interval)
    right = f"{_percent(evaluation.accuracy)} of {evaluation.n:,} lines are answered rightly"
    said = [f"{right} (95 % interval {between})."]
    if rules := evaluation.baseline_rules:
        low, high = rules.accuracy_gain
        verdict = "better than" if low > 0 else "worse than" if high < 0 else "not to be told from"
        said.append(
            f"The rules alone: {_percent(rules.accuracy)}. In scope the router is {verdict} the"
            f" rules: {100 * low:+.1f} to {100 * high:+.1f} points."
        )
    if evaluation.unknown_labels:
        names = ", ".join(evaluation.unknown_labels[:5])
        more = ", …" if len(evaluation.unknown_labels) > 5 else ""  # noqa: PLR2004 - as sliced
        said.append(f"The router has never heard of: {names}{more}. Those lines are all wrong.")
    if evaluation.seen_in_training:
        said.append(
            f"{evaluation.seen_in_training:,} lines stand in the training file, word for word:"
            " the figures flatter the router."
        )
    return said


def figures(evaluation: Evaluation) -> list[Table]:
    """Lay out every figure: of the whole, out of scope, and by label."""
    return [_overall(evaluation), *_out_of_scope(evaluation), _labels(evaluation)]


def _overall(evaluation: Evaluation) -> Table:
    rules = evaluation.baseline_rules
    fallback = evaluation.with_fallback
    rows = [
        ("accuracy", _percent(evaluation.accuracy), _between(evaluation.accuracy_interval)),
        ("macro-F1", _percent(evaluation.macro_f1), _between(evaluation.macro_f1_interval)),
    ]
    if fallback:
        interval = _between(fallback.accuracy_interval)
        rows.append(("accuracy, rules where it abstains", _percent(fallback.accuracy), interval))
    if rules:
        rows += [
            ("rules: accuracy", _percent(rules.accuracy), _between(rules.accuracy_interval)),
            ("rules: macro-F1", _percent(rules.macro_f1), _between(rules.macro_f1_interval)),
        ]
    rows += [
        (f"accuracy on the surest {at} %", _percent(value), "")
        for at, value in evaluation.coverage.items()
    ]
    rows += [
        ("abstained", _percent(evaluation.abstained), ""),
        ("expected calibration error, equal width", f"{evaluation.ece:.4f}", ""),
        ("expected calibration error, equal mass", f"{evaluation.ece_equal_mass:.4f}", ""),
        ("area under risk and coverage", f"{evaluation.aurc:.4f}", ""),
        ("Brier score", f"{evaluation.brier:.4f}", ""),
        ("log loss", f"{evaluation.log_loss:.4f}", ""),
    ]
    return Table(("", "value", "95 % interval"), rows)


def _out_of_scope(evaluation: Evaluation) -> list[Table]:
    found = evaluation.out_of_scope
    if found is None:
        return []
    rows = [
        ("lines", f"{found.n:,}"),
        ("area under the ROC curve of certainty", f"{found.auroc:.4f}"),
        ("abstained on, as is right", _percent(found.abstained)),
        ("in scope: accuracy if it never abstained", _percent(found.in_scope_accuracy)),
        ("in scope: abstained on needlessly", _percent(found.in_scope_abstained)),
    ]
    return [Table(("out of scope", "value"), rows)]


def _labels(evaluation: Evaluation) -> Table:
    rules = evaluation.baseline_rules.per_master if evaluation.baseline_rules else {}
    shown = [*evaluation.per_master.items()]
    title = "label"
    if len(shown) > MOST_LABELS:
        title = f"label (the {MOST_LABELS} of {len(shown)} with the lowest F1)"
        shown = sorted(shown, key=lambda each: each[1].f1)[:MOST_LABELS]
    rows = [
        (
            label,
            f"{each.support:,}",
            *(_percent(value) for value in (each.precision, each.recall, each.f1)),
            *([_percent(rules[label].f1) if label in rules else "-"] if rules else []),
        )
        for label, each in shown
    ]
    columns = (title, "lines", "precision", "recall", "F1", *(["rules: F1"] if rules else []))
    return Table(columns, rows)


def _confused(evaluation: Evaluation) -> list[Block]:
    pairs = [
        (count, truth, answer)
        for truth, row in evaluation.confusion.items()
        for answer, count in row.items()
        if count and answer != truth
    ]
    most = sorted(pairs, key=lambda each: -each[0])[:_MOST_CONFUSED]
    part = len(shown_labels(evaluation)) < len(evaluation.confusion)
    caption = _CAPTIONS["confusion"]
    if part:
        caption += f" Only the {MOST_LABELS} labels with most mistakes are drawn."
    return [
        Heading("What is taken for what"),
        Picture("confusion", caption),
        Table(
            ("truth → answer", "lines"),
            [(f"{truth} → {answer}", f"{count:,}") for count, truth, answer in most],
        ),
    ]


def _wrong(evaluation: Evaluation) -> list[Block]:
    if not evaluation.wrong:
        return []
    said = (
        "The surest mistakes first. Figures are log-odds of the answer over the truth: what each"
        " part of the input adds to them, and what the words among it add."
    )
    return [Heading("Wrong lines, and why"), Paragraph(said), *map(_case, evaluation.wrong)]


def _case(wrong: Wrong) -> Case:
    answered = f"{wrong.answer} ({_percent(wrong.confidence)})"
    facts = [
        ("answer", f"abstained; {answered} was the next best" if wrong.abstained else answered),
        ("truth", f"{wrong.label} ({_percent(wrong.probability)})"),
        ("log-odds from", _terms([Term(*each) for each in wrong.parts.items()])),
        ("for the answer", _terms(wrong.for_answer)),
        ("for the truth", _terms(wrong.for_label)),
    ]
    if wrong.rules:
        terms = ", ".join(dict.fromkeys(wrong.rule_terms)) or "nothing found"
        facts.append(("rules", f"{wrong.rules} ({terms})"))
    facts += [
        ("similar", f"{each.label} ({each.similarity:.2f}): {_cut(each.text)}")
        for each in wrong.neighbours
    ]
    return Case(f"{_cut(wrong.text)}", [(name, fact) for name, fact in facts if fact])


def _terms(terms: list[Term]) -> str:
    return ", ".join(f"{each.term} {each.weight:+.2f}" for each in terms)


def _file_of(path: Path, name: str) -> str:
    return f"{path.stem}-{name}.png"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _between(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f} %"  # a hyphen lasts everywhere


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
