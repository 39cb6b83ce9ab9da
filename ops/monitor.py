"""`cortex monitor`: what is going on, from the audit stream and the queues."""

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.monitor_reading import WindowReader
    from ops.monitor_text import Picture
    from ops.session import Session

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WINDOW = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_REFRESH_S = 2.0
_UNBOUNDED = 1_000  # columns, where no terminal wraps lines


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
    """Show the key metrics of the last while, by arm and by master, the queues and dead letters."""
    from ops.monitor_reading import WindowReader
    from ops.output import print_json
    from ops.queues import master_names
    from ops.session import open_session, read_settings
    from streams.connect import FOREVER

    settings = read_settings()
    masters = master_names(settings.masters_text)
    with open_session(settings, patience=FOREVER if watch else None) as session:
        reader = WindowReader(session.client, session.parts, settings.fresh_config, window, limit)
        while True:
            picture = _look(session, masters, reader)
            if as_json:
                print_json(_as_dict(picture))
            else:
                _show(picture, clear=watch)
            if not watch:
                return
            time.sleep(_REFRESH_S)


def _look(session: "Session", masters: "Sequence[str]", reader: "WindowReader") -> "Picture":
    from ops.monitor_text import Picture
    from ops.queues import measure
    from ops.summary import summarise

    client, _, parts = session
    return Picture(
        summary=summarise(reader.look()),
        depths=measure(client, parts, masters),
        dead=sum(client.xlen(keys.dead) for keys in session.buried),
    )


def _as_dict(picture: "Picture") -> dict[str, object]:
    import msgspec

    return {
        **msgspec.to_builtins(picture.summary),
        "queues": [depth._asdict() for depth in picture.depths],
        "dead": picture.dead,
    }


def _show(picture: "Picture", *, clear: bool) -> None:
    import sys

    from rich.console import Console

    from ops.monitor_text import render

    console = Console(width=None if sys.stdout.isatty() else _UNBOUNDED)
    if clear:
        console.clear()
    console.print(render(picture))
