"""`cortex rollout`: the live configuration, seen by every worker within a second."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from contracts.messages import RolloutConfig
    from streams.control import Change

app = typer.Typer(no_args_is_help=True, help="Show or set how much traffic goes to treatment.")

_CHANGES = 10  # shown of the log


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


@app.command()
def show(*, as_json: AsJson = False) -> None:
    """Show the live configuration and its last changes."""
    from itertools import islice

    from ops.output import print_json, print_line, print_table
    from ops.session import open_session, read_settings
    from streams.control import read_config, read_log

    settings = read_settings()
    with open_session(settings) as (client, keys, _):
        config = read_config(client, keys, settings.fresh_config)
        changes = list(islice(read_log(client, keys), _CHANGES))
    if as_json:
        print_json({"config": config, "log": changes})
        return
    _print_config(config)
    if changes:
        print_line("")
        print_table(
            ("version", "at", "who", "why", "changed"),
            [
                (change.version, change.at, change.who, change.why, _difference(change))
                for change in changes
            ],
        )


@app.command("set")
def set_percentage(
    fraction: Annotated[
        float,
        typer.Argument(metavar="P", parser=parse_fraction, help="0.0-1.0, or for example 10%."),
    ],
    *,
    exploration: Annotated[
        float | None,
        typer.Option(
            metavar="E",
            parser=parse_exploration,
            help="Fraction of treatment to spread over all plausible masters, at most 10%.",
            show_default="as it is",
        ),
    ] = None,
    why: Annotated[str, typer.Option(help="The reason, for the log.")] = "",
    who: Annotated[str | None, typer.Option(help="Default: the user of this shell.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set the fraction of tasks that go to treatment, and how much of it explores."""
    from ops.output import print_json
    from ops.session import current_user, open_session, read_settings
    from streams.control import read_config, set_config

    settings = read_settings()
    defaults = settings.fresh_config
    changes = {"percentage": repr(fraction)}
    if exploration is not None:
        changes["exploration"] = repr(exploration)
    with open_session(settings) as (client, keys, _):
        config = set_config(
            client,
            keys,
            expected_version=read_config(client, keys, defaults).version,
            changes=changes,
            who=who or current_user(),
            why=why,
            defaults=defaults,
        )
    if as_json:
        print_json(config)
    else:
        _print_config(config)


def _print_config(config: "RolloutConfig") -> None:
    import msgspec

    from ops.output import print_table

    rows = msgspec.structs.asdict(config) | {
        "percentage": f"{config.percentage:.2%} of tasks",
        "exploration": f"{config.exploration:.2%} of treatment",
    }
    print_table(("setting", "value"), rows.items())


def _difference(change: "Change") -> str:
    return ", ".join(
        f"{name} {change.before[name] or 'unset'} -> {value or 'unset'}"
        for name, value in change.after.items()
    )
