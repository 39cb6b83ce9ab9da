"""`cortex rollout stage | promote | pause | resume | rollback`: one change each."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson
from ops.rollout_parsing import Who, Why

if TYPE_CHECKING:
    from contracts.messages import RolloutConfig
    from rollout.stages import Plan

_BY_HAND = "by hand"


def stage(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A stage of the plan.")],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="V",
            help="Version or alias that treatment is decided by from now on. An alias means what it"
            " means now, so that nobody exchanges the model under the rollout; '' is the champion,"
            " whoever that is.",
            show_default="as it is",
        ),
    ] = None,
    why: Why = _BY_HAND,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Put the rollout into a stage."""
    from ops.rollout_view import read_plan
    from ops.session import open_session
    from rollout import commands

    plan = read_plan()
    plan.stage(name)  # before anything is looked for
    version = None if model is None else _version(model)
    with open_session() as (client, keys, _):
        config = commands.enter_stage(
            client, keys, plan, name, who=_name(who), why=why, model=version
        )
    _print(config, as_json=as_json)


def promote(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Go on to the next stage of the plan."""
    from ops.rollout_view import read_plan
    from ops.session import open_session
    from rollout import commands

    plan = read_plan()
    with open_session() as (client, keys, _):
        config = commands.promote(client, keys, plan, who=_name(who), why=why)
    _print(config, as_json=as_json)


def pause(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Have the controller leave everything as it is."""
    from ops.session import open_session
    from rollout import commands

    with open_session() as (client, keys, _):
        config = commands.pause(client, keys, who=_name(who), why=why)
    _print(config, as_json=as_json)


def resume(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Let a paused rollout go on where it is."""
    from ops.session import open_session
    from rollout import commands

    with open_session() as (client, keys, _):
        config = commands.resume(client, keys, who=_name(who), why=why)
    _print(config, as_json=as_json)


def rollback(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Have rules decide everything, within a second, until a stage is entered again."""
    from ops.session import open_session
    from rollout import commands

    with open_session() as (client, keys, _):
        config = commands.rollback(client, keys, _any_plan(), who=_name(who), why=why)
    _print(config, as_json=as_json)


def _any_plan() -> "Plan":
    """The plan, or where it is broken ours: that may not stand in the way of a rollback."""
    from contracts.errors import FatalError
    from ops.output import remark
    from ops.rollout_view import read_plan
    from rollout.settings import Settings

    try:
        return read_plan()
    except FatalError as error:
        remark(f"using the packaged plan: {error}")
        return Settings().plan


def _version(name: str) -> str:
    """What a version or an alias means here and now."""
    from ops.output import remark
    from ops.rollout_view import models_path
    from registry.folder import read_manifest
    from worker.model_folders import ModelFolders

    models = models_path()
    if not name:
        return name
    if not models.exists():
        remark(f"there are no models in {models} to look {name!r} up in; workers will")
        return name
    return read_manifest(ModelFolders(models).find(name)["champion"]).version


def _print(config: "RolloutConfig", *, as_json: bool) -> None:
    from ops.output import print_json
    from ops.rollout_view import print_config

    if as_json:
        print_json(config)
    else:
        print_config(config)


def _name(who: str | None) -> str:
    from ops.session import current_user

    return who or current_user()
