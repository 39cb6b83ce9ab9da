"""`cortex rollout show | history | status`: what is in force, and how it came about."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from contracts.messages import RolloutConfig
    from rollout.stages import Plan
    from streams.control import Change

_CHANGES = 10  # shown of the log beside the configuration


def show(*, as_json: AsJson = False) -> None:
    """Show the live configuration, the stage and the next one, and the last changes."""
    from itertools import islice

    from ops.output import print_json, print_line
    from ops.session import open_session, read_settings
    from streams.control import read_config, read_log

    settings = read_settings()
    with open_session(settings) as (client, keys, _):
        config = read_config(client, keys, settings.fresh_config)
        changes = list(islice(read_log(client, keys), _CHANGES))
    following = _next(config, read_plan())
    if as_json:
        print_json({"config": config, "next": following, "log": changes})
        return
    print_config(config, following)
    if changes:
        print_line("")
        _print_changes(changes)


def history(
    *,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="The newest only; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, when and why, the newest first; --json prints one change a line."""
    from itertools import islice

    from ops.output import print_json
    from ops.session import open_session
    from streams.control import read_log

    with open_session() as (client, keys, _):
        changes = islice(read_log(client, keys), limit)
        if not as_json:
            _print_changes(changes)
            return
        for change in changes:
            print_json(change)


def status(
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there, whole or not at all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what is in force in the shape of a deployment.json, which `set --config` reads."""
    from datetime import datetime
    from importlib.metadata import version
    from pathlib import Path

    import msgspec

    from ops.output import print_json, print_line
    from ops.session import open_session, read_settings
    from rollout.deployment import describe
    from streams.control import read_config, read_log, server_time

    settings = read_settings()
    with open_session(settings) as (client, keys, _):
        config = read_config(client, keys, settings.fresh_config)
        last = next(read_log(client, keys), None)
        changed = server_time(client) if last is None else last.at
    deployment = describe(
        config,
        program=version("cortex"),
        changed=datetime.fromisoformat(changed),
        models=models_path(),
        store=settings.store,
    )
    pretty = msgspec.json.format(msgspec.json.encode(deployment), indent=2)
    if output is not None:
        _replace(Path(output), pretty + b"\n")
    elif as_json:
        print_json(deployment)
    else:
        print_line(pretty.decode())


def read_plan() -> "Plan":
    """Read the plan: ours, or the operator's.

    Raises:
        FatalError: it cannot be read, or makes no sense.
    """
    import os

    from contracts.settings import load
    from rollout.settings import Settings

    return load(Settings, os.environ).plan


def models_path() -> "Path":
    """Where workers started like this process look for models."""
    from pathlib import Path

    from ops.session import read_settings

    settings = read_settings()
    return Path(settings.model_path or Path(settings.data_dir, "models"))


def print_config(config: "RolloutConfig", following: "dict[str, object] | None" = None) -> None:
    """Print a configuration, and what comes next if anything does."""
    from contracts.encode import rollout_fields
    from ops.output import print_table

    rows = {name: value or None for name, value in rollout_fields(config).items()}
    rows |= {
        "percentage": f"{config.percentage:.2%} of tasks",
        "exploration": f"{config.exploration:.2%} of treatment",
        "coverage": f"{config.coverage:.2%} of units",
    }
    if following:
        earliest = f", not before {following['not_before']}" if following["not_before"] else ""
        rows["next"] = f"{following['stage']}, {following['percentage']:.2%}{earliest}"
    print_table(("setting", "value"), rows.items())


def _next(config: "RolloutConfig", plan: "Plan") -> "dict[str, object] | None":
    """The next stage and when at the earliest; None where there is none."""
    if config.stage not in plan.names:
        return None
    following = plan.next(config.stage)
    if following is None:
        return None
    return {
        "stage": following.name,
        "percentage": following.percentage,
        "not_before": _earliest(config, plan.stage(config.stage).min_time_s),
    }


def _earliest(config: "RolloutConfig", seconds: float) -> str | None:
    from datetime import datetime, timedelta

    if config.stage_since is None:
        return None
    moment = datetime.fromisoformat(config.stage_since) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _print_changes(changes: "Iterable[Change]") -> None:
    from ops.output import print_table

    print_table(
        ("version", "at", "who", "why", "changed"),
        [
            (change.version, change.at, change.who, change.why, _difference(change))
            for change in changes
        ],
    )


def _difference(change: "Change") -> str:
    return ", ".join(
        f"{name} {change.before[name] or 'unset'} -> {value or 'unset'}"
        for name, value in change.after.items()
        if (change.before[name] or "") != value
    )


def _replace(path: "Path", content: bytes) -> None:
    from contracts.errors import TransientError

    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise TransientError(f"cannot write {path}: {error.strerror}") from error
