"""`cortex monitor`: what is going on, from the audit stream and the queues."""

import re
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group

    from ops.queues import Depth
    from ops.session import Session
    from ops.summary import Summary

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WINDOW = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_REFRESH_S = 2.0


class _Picture(NamedTuple):
    summary: "Summary"
    depths: "list[Depth]"
    dead: int


def parse_window(text: str) -> float:
    """Read `90s`, `30m`, `1h` or `7d` as seconds.

    Raises:
        typer.BadParameter: it is none of these.
    """
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a time like 90s, 30m, 1h or 7d")
    return float(match[1]) * _UNITS[match[2]]


def monitor(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every 2 s.")] = False,
    window: Annotated[
        float, typer.Option(parser=parse_window, metavar="TIME", help="For example 30m, 1h, 7d.")
    ] = "1h",  # type: ignore[assignment] # parsed like what users type
    limit: Annotated[
        int, typer.Option(min=1, help="Decisions to read at most, the newest first.")
    ] = 200_000,
    as_json: AsJson = False,
) -> None:
    """Show totals, arms, masters, latency, queues and dead letters of the last while."""
    from ops.output import print_json
    from ops.queues import master_names
    from ops.session import open_session, read_settings
    from streams.connect import FOREVER

    settings = read_settings()
    masters = master_names(settings.masters_text)
    with open_session(settings, patience=FOREVER if watch else None) as session:
        while True:
            picture = _look(session, masters, window, limit)
            if as_json:
                print_json(_as_dict(picture))
            else:
                _show(picture, clear=watch)
            if not watch:
                return
            time.sleep(_REFRESH_S)


def _look(session: "Session", masters: "Sequence[str]", window_s: float, limit: int) -> _Picture:
    from ops.queues import measure
    from ops.summary import summarise

    client, _, parts = session
    return _Picture(
        summary=summarise(client, parts, window_s, limit),
        depths=measure(client, parts, masters),
        dead=sum(client.xlen(keys.dead) for keys in session.buried),
    )


def _as_dict(picture: _Picture) -> dict[str, object]:
    import msgspec

    return {
        **msgspec.to_builtins(picture.summary),
        "queues": [depth._asdict() for depth in picture.depths],
        "dead": picture.dead,
    }


def _show(picture: _Picture, *, clear: bool) -> None:
    from rich.console import Console

    console = Console()
    if clear:
        console.clear()
    console.print(_render(picture))


def _render(picture: _Picture) -> "Group":
    from rich.console import Group

    from ops.output import table

    summary = picture.summary
    arms = {**summary.per_arm, **summary.per_master}
    return Group(
        table(("measure", "value"), _totals(picture)),
        "",
        table(
            ("arm or master", "routes", "share", "neural", "mean confidence"),
            [
                (name, part.routes, part.share, part.ml_share, part.mean_confidence)
                for name, part in arms.items()
            ],
        ),
        "",
        table(
            ("stream", "group", "length", "pending", "lag"),
            [depth[1:6] for depth in picture.depths],
        ),
    )


def _totals(picture: _Picture) -> "list[tuple[str, object]]":
    summary = picture.summary
    reach = "" if summary.complete else " (the newest only: raise --limit to see all)"
    return [
        (f"decisions in {summary.window_s:,.0f} s{reach}", summary.total_routes),
        ("neural routes", summary.ml_routes),
        ("rule-based routes", summary.rule_based_routes),
        ("neural, % of routes", summary.ml_percentage),
        ("mean confidence", summary.mean_confidence),
        ("context found, share", summary.context_hit_share),
        *((f"latency {name}, ms", value) for name, value in summary.latency_ms.items()),
        *((f"fallback: {reason}", count) for reason, count in summary.fallbacks.items()),
        ("dead letters", picture.dead),
    ]
