"""What people type for the live configuration, read and checked; and options that steps share."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from contracts.messages import Arm, Namespace

_ARM = re.compile(r"([^=:]+)=([0-9]+)-([0-9]+)(?::(.+))?")
_NAMESPACE = re.compile(r"([^=]+)=([0-9.]+)-([0-9.]+)")

Why = Annotated[str, typer.Option(help="The reason, for the log.")]
Who = Annotated[str | None, typer.Option(help="Default: the user of this shell.")]


def parse_fraction(text: str) -> float:
    """Read `0.1` or `10%` as a fraction from 0 to 1.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise typer.BadParameter(f"{text!r} is neither a fraction (0.0-1.0) nor a percentage (10%)")
    return value


def parse_exploration(text: str) -> float:
    """Read a fraction or percentage that the router would not cap.

    Raises:
        typer.BadParameter: it is neither, or too much.
    """
    from router.explore import MAX_EXPLORATION

    value = parse_fraction(text)
    if value > MAX_EXPLORATION:
        raise typer.BadParameter(f"{text!r} is more than may explore, {MAX_EXPLORATION:.0%}")
    return value


def parse_arm(text: str) -> "Arm":
    """Read `small=0-1000` or `small=0-1000:MODEL`: buckets 0 to 999.

    Raises:
        typer.BadParameter: it is neither.
    """
    from contracts.messages import Arm

    match = _ARM.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no arm like small=0-1000 or small=0-1000:MODEL")
    name, first, beyond, model = match.groups()
    return Arm(name=name, buckets=(int(first), int(beyond)), model=model)


def parse_namespace(text: str) -> "Namespace":
    """Read `routing=0-0.5`: the first half of the namespace `routing`.

    Raises:
        typer.BadParameter: it is not like that.
    """
    from contracts.messages import Namespace

    match = _NAMESPACE.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no part of a namespace like routing=0-0.5")
    name, first, beyond = match.groups()
    return Namespace(id=name, range=(parse_fraction(first), parse_fraction(beyond)))
