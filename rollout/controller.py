"""The control loop of a rollout: look, decide, act; one process at a time, wherever it runs.

Whoever leads has a lease, but nothing depends on it: every step is a compare-and-set on the version
of the configuration that it was decided on. A leader that was frozen, and a person who was faster,
change nothing behind each other's back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from contracts import reasons
from contracts.errors import CortexError, PoisonError, TransientError
from rollout import commands
from rollout.decide import Action, History, Step, decide
from rollout.observe import Observer
from streams.errors import SERVER_TROUBLE
from streams.lease import LEASE_MS, hold, is_held

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from redis import Redis

    from contracts.messages import RolloutConfig
    from rollout.observation import Observation
    from rollout.stages import Plan
    from streams.keys import Keys

log = structlog.get_logger(__name__)

WHO: Final = "controller"
_TROUBLE: Final = (*SERVER_TROUBLE, CortexError)


@dataclass
class Controller:
    """Takes a rollout through the stages of its plan.

    Attributes:
        client: connection to the queue's server.
        parts: names of each partition.
        plan: the stages.
        defaults: the configuration where nothing was ever set.
        dry_run: decide, but change nothing.
        lease_ms: after this long without a sign of life another controller takes over.
        seen: what the last evaluation was based on.
    """

    client: Redis
    parts: Sequence[Keys]
    plan: Plan
    defaults: RolloutConfig
    dry_run: bool = False
    lease_ms: int = LEASE_MS
    seen: Observation | None = field(default=None, init=False)
    _observer: Observer | None = field(default=None, init=False)
    _errors: int = field(default=0, init=False)

    @property
    def keys(self) -> Keys:
        """Names of what all partitions share."""
        return self.parts[0]

    def run(self, stopping: threading.Event, interval_s: float | None = None) -> None:
        """Evaluate after every interval while this is the only controller, until told to stop.

        Args:
            stopping: set from elsewhere.
            interval_s: seconds between evaluations, if not the plan's.
        """
        interval_s = self.plan.interval_s if interval_s is None else interval_s
        waiting = False
        while not stopping.is_set():
            try:
                with hold(self.client, self.keys.rollout_lease, lease_ms=self.lease_ms) as token:
                    if token is not None:
                        waiting = False
                        log.info("leading", token=token)
                        self._lead(token, stopping, interval_s)
                    elif not waiting:
                        waiting = True
                        log.info("another controller leads")
            except SERVER_TROUBLE as error:
                log.warning("no lease", error=str(error))
            stopping.wait(min(interval_s, self.lease_ms / 3_000))

    def once(self) -> Step | None:
        """Evaluate once; None if another controller leads.

        Raises:
            PoisonError: the live configuration or its log is malformed.
            TransientError: someone else changed the configuration meanwhile; nothing was done.
            redis.RedisError: the server could not be asked.
        """
        with hold(self.client, self.keys.rollout_lease, lease_ms=self.lease_ms) as token:
            return None if token is None else self.evaluate()

    def evaluate(self) -> Step:
        """Look, decide, act; raises as `once` does."""
        if self._observer is None:
            self._observer = Observer(
                self.client, self.parts, self.defaults, window_s=self.plan.interval_s
            )
        self.seen = self._observer.look()
        before = self._remembered()
        step = decide(self.plan, self._observer.timeline, self.seen, before)
        if step.history != before and not self.dry_run:
            self.client.set(self.keys.rollout_failures, msgspec.json.encode(step.history))
        self._act(step.action)
        self._errors = 0
        return step

    def _lead(self, token: int, stopping: threading.Event, interval_s: float) -> None:
        self._observer = None
        while not stopping.is_set():
            try:
                if not is_held(self.client, self.keys.rollout_lease, token):
                    log.warning("lost the lease", token=token)
                    return
                action = self.evaluate().action
                log.info(action.kind, reason=action.reason, stage=action.stage)
            except TransientError as error:
                log.info("overtaken", error=str(error))  # by someone whose change is respected
            except _TROUBLE as error:
                self._complain(error)
            stopping.wait(interval_s)

    def _act(self, action: Action) -> None:
        """Take a step, if nobody else changed the configuration it was decided on."""
        if self.dry_run or self._observer is None:
            return
        client, keys, plan, why = self.client, self.keys, self.plan, action.reason
        config = self._observer.timeline.config
        if action.kind == "advance" and action.stage is not None:
            commands.enter_stage(
                client,
                keys,
                plan,
                action.stage,
                who=WHO,
                why=why,
                model=action.model,
                based_on=config,
            )
        elif action.kind == "pause":
            commands.pause(client, keys, who=WHO, why=why, based_on=config)
        elif action.kind == "rollback":
            commands.rollback(client, keys, plan, who=WHO, why=why, based_on=config)

    def _complain(self, error: Exception) -> None:
        """Count an evaluation that came to nothing; after too many in a row, pause."""
        self._errors += 1
        log.warning("cannot evaluate", error=str(error), times=self._errors)
        timeline = self._observer.timeline if self._observer else None
        if timeline is None or timeline.config.paused is not None:
            return
        named = timeline.config.stage
        stage = self.plan.stage(named) if named in self.plan.names else None
        limits = [g.consecutive_error_limit for g in stage.gates if not g.dry_run] if stage else []
        if limits and self._errors > min(limits):
            reason = f"{named}: could not be observed {self._errors} times in a row: {error}"
            try:
                self._act(Action(kind="pause", reason=reason))
            except _TROUBLE as trouble:
                log.warning("cannot pause", error=str(trouble))

    def _remembered(self) -> History:
        stored = self.client.get(self.keys.rollout_failures)
        try:
            return msgspec.json.decode(stored or b"{}", type=History)
        except msgspec.DecodeError as error:
            raise PoisonError(
                reasons.INVALID_SHAPE, f"{self.keys.rollout_failures}: {error}"
            ) from error
