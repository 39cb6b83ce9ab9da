"""The pictures of a report, as SVG or PNG; the same figures give the same bytes.

Labels are other people's text: none is read as mathematics. Matplotlib's settings are changed while
something is drawn and put back after; they belong to the process, so draw on one thread at a time.
"""

from __future__ import annotations

import io
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from learning.evaluate import Curves
    from learning.evaluation import Evaluation, OutOfScope
    from learning.selective import Roc

Format = Literal["svg", "png"]

MOST_LABELS = 20  # of a matrix that can still be read
_SIZE = (5.4, 4.2)  # inches
_INK, _GREY, _PALE = "#1f2933", "#7b8794", "#e4e7eb"
_BLUE, _ORANGE = "#2563a8", "#c2571a"  # told apart by the colour-blind, too
_UNDATED: dict[Format, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "cortex",  # identifiers in an SVG are random without
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
}


def plots(evaluation: Evaluation, curves: Curves, kind: Format) -> dict[str, bytes]:
    """Draw all there is to draw.

    Returns:
        The files by name: `confusion`, `reliability`, `risk`, and `roc` if lines are out of scope.
    """
    labels = shown_labels(evaluation)
    side = 2.4 + 0.42 * len(labels)
    drawn = {
        "confusion": _draw(
            lambda axes: _confusion(axes, evaluation, labels), (side + 1.6, side), kind
        ),
        "reliability": _draw(lambda axes: _reliability(axes, curves), _SIZE, kind),
        "risk": _draw(lambda axes: _risk(axes, curves), _SIZE, kind),
    }
    if evaluation.out_of_scope and curves.roc:
        drawn["roc"] = _draw(
            partial(_roc, curve=curves.roc, found=evaluation.out_of_scope), _SIZE, kind
        )
    return drawn


def shown_labels(evaluation: Evaluation) -> list[str]:
    """Return the labels a matrix has room for: those with most mistakes, in their order."""
    rows = evaluation.confusion
    mistakes = dict.fromkeys(rows, 0)
    for truth, row in rows.items():
        for answer, count in row.items():
            if answer != truth:
                mistakes[truth] += count
                mistakes[answer] += count
    most = {*sorted(mistakes, key=lambda label: -mistakes[label])[:MOST_LABELS]}
    return [label for label in rows if label in most]


def _draw(draw: Callable[[Axes], None], size: tuple[float, float], kind: Format) -> bytes:
    file = io.BytesIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Browsers have the glyphs of scripts that the font here lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(file, format=kind, dpi=110, metadata=_UNDATED[kind])
    return file.getvalue()


def _confusion(axes: Axes, evaluation: Evaluation, labels: list[str]) -> None:
    counts = np.array([[evaluation.confusion[row][column] for column in labels] for row in labels])
    support = np.array([evaluation.per_master[label].support for label in labels])
    shares = counts / np.maximum(support, 1)[:, None]
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white")
    axes.invert_yaxis()
    names = [_short(label) for label in labels]
    middles = np.arange(len(labels)) + 0.5
    axes.set_xticks(middles, names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, names)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.55 else _INK  # noqa: PLR2004 - of the map
            axes.text(
                column + 0.5,
                row + 0.5,
                str(count),
                ha="center",
                va="center",
                color=colour,
                fontsize=9,
            )


def _reliability(axes: Axes, curves: Curves) -> None:
    bins = curves.reliability
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="as it should be")
    axes.bar(
        bins.confidence,
        bins.size / bins.size.sum(),
        width=0.03,
        color=_PALE,
        label="share of lines",
    )
    # The interval of Agresti & Coull 1998, which makes sense for small bins, too.
    shrunk = (bins.accuracy * bins.size + 2) / (bins.size + 4)
    error = 2 * np.sqrt(shrunk * (1 - shrunk) / (bins.size + 4))
    axes.errorbar(
        bins.confidence,
        bins.accuracy,
        yerr=[
            np.maximum(bins.accuracy - (shrunk - error), 0),
            np.maximum(shrunk + error - bins.accuracy, 0),
        ],
        color=_BLUE,
        marker="o",
        elinewidth=1,
        capsize=2,
        label="lines of a bin, 95 %",
    )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="confidence", ylabel="accuracy")
    axes.legend(loc="upper left")


def _risk(axes: Axes, curves: Curves) -> None:
    axes.plot(curves.router.coverage, curves.router.risk, color=_BLUE, label="router")
    if curves.rules is not None:
        axes.plot(curves.rules.coverage, curves.rules.risk, color=_ORANGE, label="rules")
    # The first few answers alone are right or wrong by chance; they must not set the scale.
    settled = max(len(curves.router.risk) // 50, 1)
    highest = max(
        each.risk[settled - 1 :].max() for each in (curves.router, curves.rules) if each is not None
    )
    axes.set(xlim=(0, 1), ylim=(0, max(1.1 * float(highest), 0.01)))
    axes.set(xlabel="share of lines answered, the surest first", ylabel="wrong among them")
    axes.grid(color=_PALE)
    axes.legend(loc="upper left")


def _roc(axes: Axes, curve: Roc, found: OutOfScope) -> None:
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="by chance")
    axes.plot(
        curve.false_positives,
        curve.true_positives,
        color=_BLUE,
        label=f"certainty, area {found.auroc:.3f}",
    )
    chosen = (1 - found.abstained, 1 - found.in_scope_abstained)
    axes.plot(*chosen, "o", color=_ORANGE, label="where it abstains")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set(xlabel="accepted of what is out of scope", ylabel="accepted of what is in scope")
    axes.legend(loc="lower right")


def _short(label: str, most: int = 24) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
