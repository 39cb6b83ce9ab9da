"""How the monitor looks: what the original's script printed, then what there is beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.text import Text

from ops.output import table
from ops.summary import BINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.queues import Depth
    from ops.summary import Balance, Bin, Part, Summary

_HEADING = "📊 ML Router Metrics"
_BLOCKS = "▁▂▃▄▅▆▇█"


class Picture(NamedTuple):
    """All that is shown at once."""

    summary: Summary
    depths: list[Depth]
    dead: int


def render(picture: Picture) -> Group:
    """Lay everything out."""
    summary = picture.summary
    parts = {**summary.per_arm, **summary.per_master}
    return Group(
        *(Text(line) for line in totals(summary)),
        "",
        table(("measure", "value"), _measures(picture)),
        "",
        table((f"in {BINS} parts", f"of {summary.window_s:,.0f} s"), _courses(summary.series)),
        "",
        table(
            ("arm or master", "routes", "share", "neural", "right", "conf.", "context", "p95 ms"),
            [_row(name, part) for name, part in parts.items()],
        ),
        "",
        table(
            ("stream", "group", "length", "pending", "lag"),
            [depth[1:6] for depth in picture.depths],
        ),
    )


def totals(summary: Summary) -> list[str]:
    """Return the lines of the original's script."""
    return [
        _HEADING,
        "=" * 20,
        f"Total routes: {summary.total_routes}",
        f"ML routes: {summary.ml_routes}",
        f"Rule-based routes: {summary.rule_based_routes}",
        f"ML percentage: {summary.ml_percentage or 0.0:.2f}%",
    ]


def sparkline(values: Sequence[float | None]) -> str:
    """Draw values as a line of blocks from 0 to the largest; blank where there is none."""
    largest = max((value for value in values if value is not None), default=0.0)
    return "".join(" " if value is None else _block(value, largest) for value in values)


def _block(value: float, largest: float) -> str:
    return _BLOCKS[round(value / largest * (len(_BLOCKS) - 1)) if largest > 0 else 0]


def _measures(picture: Picture) -> Iterator[tuple[str, object]]:
    summary = picture.summary
    if not summary.complete:
        yield ("read", "the newest only: raise --limit to see all")
    yield ("accuracy", f"{_percent(summary.accuracy)} of {summary.known:,} known")
    yield ("mean confidence", summary.mean_confidence)
    yield ("context found", _percent(summary.context_hit_share))
    for name, value in summary.latency_ms.items():
        yield (f"latency {name}, ms", value)
    yield ("A/B balance", _balance(summary.balance))
    for reason, count in summary.fallbacks.items():
        yield (f"fallback: {reason}", count)
    yield ("dead letters", picture.dead)


def _courses(series: Sequence[Bin]) -> Iterator[tuple[str, str]]:
    yield ("routes", sparkline([each.routes for each in series]))
    yield ("neural", sparkline([each.ml_routes for each in series]))
    yield ("accuracy", sparkline([each.accuracy for each in series]))
    yield ("confidence", sparkline([each.mean_confidence for each in series]))
    yield ("context", sparkline([each.context_hit_share for each in series]))
    yield ("p95", sparkline([each.latency_p95_ms for each in series]))


def _balance(balance: Balance) -> str:
    if balance.p_value is None:
        return "unknown: no decision under a configuration of the log"
    shares = f"{_percent(balance.treated_share)} treated of {_percent(balance.expected)} expected"
    return f"{balance.verdict.upper()}: {shares}, p = {balance.p_value:.3g}"


def _row(name: str, part: Part) -> tuple[object, ...]:
    return (
        name,
        part.routes,
        _percent(part.share),
        _percent(part.ml_share),
        _percent(part.accuracy),
        part.mean_confidence,
        _percent(part.context_hit_share),
        part.latency_ms.get("p95"),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
