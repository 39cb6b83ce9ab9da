"""The steps of a rollout: each is one change of the live configuration, whoever takes it.

Operators and the controller use the same ones. A step that is `based_on` a configuration is taken
only while that one is in force; where someone was faster, nothing happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import FatalError, PoisonError
from contracts.messages import RolloutConfig
from streams.control import read_config, set_config, unreadable_fields

if TYPE_CHECKING:
    from redis import Redis

    from rollout.stages import Plan
    from streams.keys import Keys

_STAGED = "stage_since"


def enter_stage(  # noqa: PLR0913 - a step, and who answers for it
    client: Redis,
    keys: Keys,
    plan: Plan,
    name: str,
    *,
    who: str,
    why: str,
    model: str | None = None,
    based_on: RolloutConfig | None = None,
) -> RolloutConfig:
    """Put the rollout into a stage, whichever it was in; it is not paused any more.

    Args:
        client: connection to the queue's server.
        keys: names the configuration hash and its log.
        plan: where the stage stands.
        name: of the stage.
        who: who is responsible.
        why: the reason, for the log.
        model: version that treatment is decided by from now on; None leaves that as it is.
        based_on: the configuration that the step was decided on; None takes it in any case.

    Returns:
        The configuration as it is now.

    Raises:
        FatalError: there is no such stage, or `model` is no name; nothing was changed.
        TransientError: someone else changed the configuration meanwhile; nothing was changed.
        PoisonError: the step was taken, but workers cannot read what else the hash says.
        redis.RedisError: it is unknown whether the step was taken.
    """
    stage = plan.stage(name)
    changes = {"percentage": repr(stage.percentage), "stage": stage.name, "paused": ""}
    if model is not None:
        changes["model"] = model
    return set_config(
        client,
        keys,
        expected_version=_version(based_on),
        changes=changes,
        who=who,
        why=why,
        defaults=based_on,
        stamped=(_STAGED,),
    )


def promote(  # noqa: PLR0913 - as above
    client: Redis,
    keys: Keys,
    plan: Plan,
    *,
    who: str,
    why: str,
    based_on: RolloutConfig | None = None,
) -> RolloutConfig:
    """Go on to the next stage of the plan; arguments, result and errors as of `enter_stage`.

    Raises:
        FatalError: the rollout is in no stage, or in the last one; nothing was changed.
    """
    config = based_on or read_config(client, keys, RolloutConfig())
    if config.stage is None:
        raise FatalError(f"the rollout is in no stage; enter one of {', '.join(plan.names)}")
    following = plan.next(config.stage)
    if following is None:
        raise FatalError(f"{config.stage} is the last stage: there is nothing to promote to")
    return enter_stage(client, keys, plan, following.name, who=who, why=why, based_on=config)


def pause(
    client: Redis, keys: Keys, *, who: str, why: str, based_on: RolloutConfig | None = None
) -> RolloutConfig:
    """Leave the rollout as it is until it is resumed; result and errors as of `enter_stage`.

    Raises:
        FatalError: `why` is empty: who finds it paused must be told.
    """
    if not why.strip():
        raise FatalError("a pause needs a reason")
    return set_config(
        client,
        keys,
        expected_version=_version(based_on),
        changes={"paused": why},
        who=who,
        why=why,
        defaults=based_on,
    )


def resume(
    client: Redis, keys: Keys, *, who: str, why: str, based_on: RolloutConfig | None = None
) -> RolloutConfig:
    """Let a paused rollout go on where it is; result and errors as of `enter_stage`."""
    return set_config(
        client,
        keys,
        expected_version=_version(based_on),
        changes={"paused": ""},
        who=who,
        why=why,
        defaults=based_on,
    )


def rollback(  # noqa: PLR0913 - as above
    client: Redis,
    keys: Keys,
    plan: Plan,
    *,
    who: str,
    why: str,
    based_on: RolloutConfig | None = None,
) -> RolloutConfig:
    """Take every task from the model, in one write, and let nothing advance by itself.

    The rollout is in the plan's first stage and paused. The model stays named, so that it is still
    heard in shadow. Without `based_on` it works on whatever is there: fields that workers cannot
    read, so that they would go on as before, are unset. Arguments, result and errors as of
    `enter_stage`.

    Raises:
        FatalError: `why` is empty.
    """
    if not why.strip():
        raise FatalError("a rollback needs a reason")
    changes = {
        "percentage": repr(plan.first.percentage),
        "arms": "",  # they would take the place of the percentage
        "force": "false",  # or tasks could still choose the model
        "stage": plan.first.name,
        "paused": f"rolled back: {why}",
    }

    def write(more: dict[str, str]) -> RolloutConfig:
        return set_config(
            client,
            keys,
            expected_version=_version(based_on),
            changes=more | changes,
            who=who,
            why=why,
            defaults=based_on,
            stamped=(_STAGED,),
        )

    try:
        return write({})
    except PoisonError:
        if based_on is not None:
            raise
    return write(dict.fromkeys(unreadable_fields(client, keys), ""))


def _version(config: RolloutConfig | None) -> int | None:
    return None if config is None else config.version
