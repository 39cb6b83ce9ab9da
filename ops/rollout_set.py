"""`cortex rollout set`: fields of the live configuration, by hand."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson
from ops.rollout_parsing import (
    Who,
    Why,
    parse_arm,
    parse_exploration,
    parse_fraction,
    parse_namespace,
)

if TYPE_CHECKING:
    from contracts.messages import RolloutConfig

_AS_IT_IS = "as it is"
# Whoever sets the share by hand takes it out of the hands of the controller.
_CLEARED = ("arms", "stage", "stage_since", "paused")


def set_fields(  # noqa: PLR0913 - options of a command
    fraction: Annotated[
        float | None,
        typer.Argument(
            metavar="P",
            parser=parse_fraction,
            help="Share of tasks in treatment: 0.0-1.0, or for example 10%.",
            show_default=_AS_IT_IS,
        ),
    ] = None,
    *,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Take percentage, switches and model from a deployment.json."
        ),
    ] = None,
    arms: Annotated[
        list[str] | None,
        typer.Option(
            "--arm",
            metavar="NAME=FIRST-BEYOND[:MODEL]",
            help="In place of P: an arm and its buckets of 10,000; once for each arm.",
        ),
    ] = None,
    exploration: Annotated[
        float | None,
        typer.Option(
            metavar="E",
            parser=parse_exploration,
            help="Fraction of treatment to spread over all plausible masters, at most 10%.",
            show_default=_AS_IT_IS,
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="C",
            parser=parse_fraction,
            help="Fraction of units that take part at all.",
            show_default=_AS_IT_IS,
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(help="Seed of the assignment: another one assigns anew."),
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option(help="What is assigned: task_id, or for example metadata.repo."),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=FROM-TO",
            help="Only units in this part of it, for example routing=0-0.5; '' is all.",
        ),
    ] = None,
    force: Annotated[
        bool | None,
        typer.Option("--force/--no-force", help="Whether metadata.force_group is obeyed."),
    ] = None,
    neural: Annotated[
        bool | None, typer.Option("--neural/--no-neural", help="Whether models are asked at all.")
    ] = None,
    rag: Annotated[
        bool | None, typer.Option("--rag/--no-rag", help="Whether context is attached.")
    ] = None,
    why: Why = "",
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Set the share of tasks that go to treatment, and how they are chosen.

    With P, --arm or --config the rollout is in no stage any more, and its controller leaves it
    alone; P and --config take the place of arms.
    """
    if sum(each is not None for each in (fraction, config, arms)) > 1:
        raise typer.BadParameter("give one of P, --config and --arm")
    given: dict[str, object] = {
        "percentage": fraction,
        "arms": None if arms is None else tuple(parse_arm(arm) for arm in arms),
        "exploration": exploration,
        "coverage": coverage,
        "experiment": experiment,
        "attribute": attribute,
        "namespace": parse_namespace(namespace) if namespace else namespace,
        "force": force,
        "enable_neural": neural,
        "enable_rag": rag,
    }
    changes = {name: _text(value) for name, value in given.items() if value is not None}
    if config is not None:
        changes = _deployed(config) | changes
    if not changes:
        raise typer.BadParameter("there is nothing to set: give P, --config, or an option")
    _set(changes, who, why, as_json=as_json)


def _set(changes: dict[str, str], who: str | None, why: str, *, as_json: bool) -> None:
    from ops.output import print_json
    from ops.rollout_view import print_config
    from ops.session import current_user, open_session, read_settings
    from streams.control import read_config, set_config

    settings = read_settings()
    defaults = settings.fresh_config
    with open_session(settings) as (client, keys, _):
        now = read_config(client, keys, defaults)
        config = set_config(
            client,
            keys,
            expected_version=now.version,
            changes=_cleared(changes, now) | changes,
            who=who or current_user(),
            why=why,
            defaults=defaults,
        )
    if as_json:
        print_json(config)
    else:
        print_config(config)


def _cleared(changes: dict[str, str], now: "RolloutConfig") -> dict[str, str]:
    """What no longer holds where the share is set by hand."""
    if not changes.keys() & {"percentage", "arms"}:
        return {}
    return {name: "" for name in _CLEARED if getattr(now, name) is not None}


def _deployed(file: str) -> dict[str, str]:
    """Return what a deployment.json sets, and say what it does not."""
    from pathlib import Path

    from contracts.errors import FatalError
    from ops.output import remark
    from ops.rollout_view import models_path
    from ops.session import read_settings
    from rollout import deployment

    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise FatalError(f"cannot read {file}: {error.strerror}") from error
    read = deployment.read_deployment(content)
    fields, not_live = deployment.changes(read, models_path(), read_settings().store)
    for sentence in not_live:
        remark(sentence)
    return fields


def _text(value: object) -> str:
    """Write a value as the hash has it."""
    import msgspec

    match value:
        case str():
            return value
        case float():
            return repr(value)
        case _:
            return msgspec.json.encode(value).decode()
