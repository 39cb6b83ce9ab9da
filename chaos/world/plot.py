"""Draws how a company's nights went."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from chaos.world.summary import by_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from chaos.world.summary import Run


def draw(runs: Sequence[Run], path: Path) -> None:
    """Write a plot as SVG: per scenario, success by day below the oracle's, and where it drifted.

    Args:
        runs: all equally long; those of one scenario are averaged, and each is drawn thin.
        path: the file to write; the same runs make the same bytes.
    """
    # Text stays text and no date is written, so that the same days make the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cortex"}):
        scenarios = by_scenario(runs)
        figure = Figure(figsize=(4.2 * len(scenarios), 3.4), layout="constrained")
        axes = figure.subplots(1, len(scenarios), sharey=True, squeeze=False)[0]
        for axis, (name, some) in zip(axes, scenarios.items(), strict=True):
            _panel(axis, some)
            axis.set(title=name, xlabel="nights of learning", ylim=(40, 100))
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("tasks that succeed, %")
        axes[-1].legend(loc="center right")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axis: Axes, runs: Sequence[Run]) -> None:
    days = [*zip(*(run.days for run in runs), strict=True)]
    at = [same[0].day for same in days]
    if len(runs) > 1:
        for run in runs:
            axis.plot(at, [100 * day.success for day in run.days], color="tab:blue", alpha=0.3)
    axis.plot(at, [100 * fmean(day.oracle for day in same) for same in days], "k--", label="oracle")
    axis.plot(at, [100 * fmean(day.rules for day in same) for same in days], "g:", label="rules")
    success = [100 * fmean(day.success for day in same) for same in days]
    axis.plot(at, success, "o-", color="tab:blue", label="Cortex")
    for day in runs[0].days:
        if day.drifted:
            axis.axvline(day.day, color="tab:red", linewidth=1, label="drift")
