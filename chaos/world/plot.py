"""Draws how a company's nights went, and lays them out as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from chaos.world.play import Day


def draw(histories: Mapping[str, Sequence[Day]], path: Path) -> None:
    """Write a plot as SVG: per history, success by day below the oracle's, and where it drifted.

    Args:
        histories: name -> days.
        path: the file to write.
    """
    # Text stays text and no date is written, so that the same days make the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cortex"}):
        figure = Figure(figsize=(4.2 * len(histories), 3.4), layout="constrained")
        axes = figure.subplots(1, len(histories), sharey=True, squeeze=False)[0]
        for axis, (name, days) in zip(axes, histories.items(), strict=True):
            at = [day.day for day in days]
            axis.plot(at, [100 * day.oracle for day in days], "k--", label="oracle")
            axis.plot(at, [100 * day.rules for day in days], ":", color="gray", label="rules")
            axis.plot(at, [100 * day.success for day in days], "o-", label="Cortex")
            for day in days:
                if day.drifted:
                    axis.axvline(day.day, color="tab:red", linewidth=1, label="drift")
            axis.set(title=name, xlabel="nights of learning", ylim=(40, 100))
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("tasks that succeed, %")
        axes[-1].legend(loc="lower right")
        figure.savefig(path, format="svg", metadata={"Date": None})


def markdown(histories: Mapping[str, Sequence[Day]]) -> str:
    """Return a table: a row per day, and per history how far success is from the oracle's."""
    names = [*histories]
    lines = [
        "| nights of learning | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for row in zip(*histories.values(), strict=True):
        cells = [f"{day.success:.1%} of {day.oracle:.1%}" for day in row]
        lines.append(f"| {row[0].day} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
