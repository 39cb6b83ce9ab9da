"""Lets the controller see a rollout through, and writes down what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from chaos.rollout.company import VERSION, Company
from contracts.encode import encode_reference, outcome_fields
from contracts.messages import RolloutConfig
from rollout import commands
from rollout.controller import Controller
from streams import ranges
from streams.control import read_config
from streams.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from contracts.messages import Decision, Outcome
    from rollout.stages import Plan

BATCH = 100  # tasks between two evaluations
HEARD = 0.95  # share of tasks whose outcome is ever reported
_DOUBLED = 0.02  # of all outcomes
_FRESH = RolloutConfig()


class Scenario(Struct, frozen=True, kw_only=True):
    """What is supposed to happen.

    Attributes:
        model_right: share of tasks on which the model is right, 0-1.
        heard: share of tasks whose outcome is ever reported, 0-1.
        dropped: share of treatment's decisions that get lost on their way to the stream, 0-1.
        stage: where the rollout is put to begin with.
        at_most: tasks after which it ends undecided.
    """

    model_right: float
    heard: float = HEARD
    dropped: float = 0.0
    stage: str = "canary"
    at_most: int = 200_000


class Run(Struct, frozen=True, kw_only=True):
    """What became of one rollout.

    Attributes:
        ended: where it was when the controller left it alone, or was through.
        furthest: the stage with the most treatment that it was in.
        outcomes: heard of tasks that teach something about the effect; in shadow, of any.
        units: decisions that were counted.
        reason: last entry of the log that the controller wrote.
    """

    seed: int
    ended: str
    furthest: str
    tasks: int
    outcomes: int
    units: int
    reason: str


def play(client: Redis, plan: Plan, scenario: Scenario, seed: int, interval: int = BATCH) -> Run:
    """Play a rollout until it is rolled back, paused, or through.

    Args:
        client: connection to a server; keys of the run's own prefix are written and deleted.
        plan: of the controller.
        scenario: what is supposed to happen.
        seed: of all chance.
        interval: tasks between two evaluations.
    """
    keys = Keys(f"rollout-{seed}:")
    company = Company(scenario.model_right, seed)
    controller = Controller(client, (keys,), plan, _FRESH)
    commands.enter_stage(
        client, keys, plan, scenario.stage, who="simulation", why="begin", model=VERSION
    )
    tasks = 0
    furthest = plan.stage(scenario.stage)
    try:
        while tasks < scenario.at_most:
            config = read_config(client, keys, _FRESH)
            stage = plan.stage(config.stage or "")
            furthest = max(furthest, stage, key=lambda each: each.percentage)
            if config.paused is not None or plan.next(stage.name) is None:
                break
            decisions = company.decide(company.tasks(interval), config)
            tasks += len(decisions)
            publish(
                client, keys, company, decisions, heard=scenario.heard, dropped=scenario.dropped
            )
            step = controller.once()
            if step is None:
                raise RuntimeError("nobody else leads here")
        (_entry_id, last), *_ = ranges.backward(client, keys.control_log)
        seen = controller.seen
        return Run(
            seed=seed,
            ended=_ended(read_config(client, keys, _FRESH)),
            furthest=furthest.name,
            tasks=tasks,
            outcomes=(seen.success.n or seen.control.outcomes) if seen else 0,
            units=seen.ratio.odds.n if seen else 0,
            reason=last[b"why"].decode(),
        )
    finally:
        for key in client.scan_iter(f"{keys.prefix}*", count=1_000):
            client.delete(key)


def publish(  # noqa: PLR0913 - who decided what, and what gets lost
    client: Redis,
    keys: Keys,
    company: Company,
    decisions: Sequence[Decision],
    *,
    heard: float = HEARD,
    dropped: float = 0.0,
) -> None:
    """Write decisions and what masters report: in another order, some twice, some never.

    Args:
        client: connection to the server.
        keys: names the streams.
        company: knows who is right.
        decisions: of its tasks.
        heard: share of outcomes that are reported, 0-1.
        dropped: share of treatment's decisions that get lost, 0-1.
    """
    pipe = client.pipeline(transaction=False)
    reports: list[Outcome] = []
    for decision in decisions:
        treated = decision.ab_test_group == "treatment"
        if not (treated and company.chance() < dropped):
            audit = encode_reference(decision)
            pipe.xadd(keys.decisions, {"task_id": decision.task_id, "decision": audit})
        if company.chance() < heard:
            reports.append(company.report(decision))
    reports += [report for report in reports if company.chance() < _DOUBLED]
    for place in company.shuffled(len(reports)):
        pipe.xadd(keys.outcomes, dict(outcome_fields(reports[place]).items()))
    pipe.execute()


def hurried(plan: Plan, *, patience_s: float, min_time_s: float = 0.0) -> Plan:
    """Return a plan with the same stages and gates that goes by seconds instead of hours."""
    stages = tuple(
        msgspec.structs.replace(stage, min_time_s=min_time_s, patience_s=patience_s)
        for stage in plan.stages
    )
    return msgspec.structs.replace(plan, stages=stages)


def _ended(config: RolloutConfig) -> str:
    if config.paused is None:
        return f"in {config.stage}"
    return "rolled back" if config.paused.startswith("rolled back") else "paused"
