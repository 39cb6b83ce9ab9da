"""`cortex rollout stage | promote | pause | resume | rollback`: one change each."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson
from ops.rollout_parsing import Who, Why

if TYPE_CHECKING:
    from collections.abc import Callable

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
    from rollout.commands import enter_stage

    plan = read_plan()
    plan.stage(name)  # before anything is looked for
    version = None if model is None else _version(model)
    _take(partial(enter_stage, plan=plan, name=name, model=version), who, why, as_json=as_json)


def promote(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Go on to the next stage of the plan."""
    from ops.rollout_view import read_plan
    from rollout.commands import promote

    _take(partial(promote, plan=read_plan()), who, why, as_json=as_json)


def pause(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Have the controller leave everything as it is."""
    from rollout.commands import pause

    _take(pause, who, why, as_json=as_json)


def resume(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Let a paused rollout go on where it is."""
    from rollout.commands import resume

    _take(resume, who, why, as_json=as_json)


def rollback(*, why: Why = _BY_HAND, who: Who = None, as_json: AsJson = False) -> None:
    """Have rules decide everything, within a second, until a stage is entered again."""
    from rollout.commands import rollback

    _take(partial(rollback, plan=_any_plan()), who, why, as_json=as_json)


def _take(step: "Callable[..., object]", who: str | None, why: str, *, as_json: bool) -> None:
    """Take a step, and print what is in force then."""
    from ops.output import print_json
    from ops.rollout_view import print_config
    from ops.session import current_user, open_session, read_settings
    from streams.control import read_config

    settings = read_settings()
    with open_session(settings) as (client, keys, _):
        step(client, keys, who=who or current_user(), why=why)
        config = read_config(client, keys, settings.fresh_config)
    if as_json:
        print_json(config)
    else:
        print_config(config)


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
