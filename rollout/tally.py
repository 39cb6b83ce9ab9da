"""Counts a rollout's decisions and outcomes as they come: each once, joined by the task's id."""

from __future__ import annotations

from collections import Counter, defaultdict
from sys import intern
from typing import TYPE_CHECKING, Final, NamedTuple

from rollout.arms import ArmTally, ShadowTally
from rollout.observation import Observation, Shadow
from rollout.recent import Recent
from rollout.statistics.sample_ratio import SampleRatioMonitor
from rollout.statistics.sequences import EffectMonitor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollout.seen import Heard, Seen

MEMORY: Final = 200_000  # decisions that wait for their outcomes; some hundred bytes each
_AT_ONCE: Final = 10_000  # outcomes handed to the monitors together at most
_EARLY: Final = 50_000  # outcomes that wait for their decisions, which were written before them


class _Waiting(NamedTuple):
    treated: bool
    share: float
    version: int
    master: str
    confidence: float
    shadow: str | None
    model: str | None


_COUNTED: Final = _Waiting(False, 0.0, 0, "", 0.0, None, None)  # noqa: FBT003 - no task's


class Tally:
    """What was seen of one rollout.

    Attributes:
        staged: version its present stage began with; what is older counts for effects only.
    """

    def __init__(self, staged: int, *, window_ms: int, memory: int = MEMORY) -> None:
        """Begin with nothing.

        Args:
            staged: see `Tally`.
            window_ms: what is recent: one to two times as long ago.
            memory: decisions remembered at least; an outcome later than so many decisions is lost.
        """
        self._window_ms = window_ms
        self._waiting: Recent[_Waiting] = Recent(memory)
        self._units: Recent[bool] = Recent(memory)
        self._early: Recent[tuple[Heard, int]] = Recent(min(memory, _EARLY))
        self._success, self._accuracy = EffectMonitor(), EffectMonitor()
        self._ratio = SampleRatioMonitor()
        self._models: Counter[str] = Counter()
        self._shadows: dict[str, ShadowTally] = {}  # in the order of their first appearance
        self._assigned: defaultdict[float, list[int]] = defaultdict(lambda: [0, 0])
        self._rewards: list[tuple[bool, bool, float]] = []
        self._rights: list[tuple[bool, bool, float]] = []
        self.enter(staged)

    def enter(self, staged: int) -> None:
        """Begin a stage."""
        self.staged = staged
        self._arms = (ArmTally(self._window_ms), ArmTally(self._window_ms))

    def decided(self, seen: Seen, share: float, at_ms: int) -> None:
        """Count a decision of this rollout.

        Args:
            seen: the decision, made by the hash.
            share: of treatment, by its version of the configuration.
            at_ms: when it was made, by the server's clock.
        """
        if self._waiting.get(seen.task_id) is not None:
            return
        treated = seen.ab_test_group == "treatment"
        self._assign(seen.unit, share, treated=treated)
        if seen.config_version >= self.staged:
            self._arms[treated].decided(seen, at_ms)
        model = opinion = None
        if treated and seen.model_version is not None:
            self._models[seen.model_version] += 1
        elif not treated and seen.shadow is not None:
            model, opinion = seen.shadow.model_version, intern(seen.shadow.selected_master)
        if model is not None:
            shadow = self._shadows.setdefault(intern(model), ShadowTally())
            shadow.decided(opinion or "", seen, model)
        waiting = _Waiting(
            treated,
            share,
            seen.config_version,
            intern(seen.selected_master),
            seen.confidence,
            opinion,
            model,
        )
        self._waiting.put(seen.task_id, waiting)
        early = self._early.pop(seen.task_id)
        if early is not None:
            self._join(seen.task_id, waiting, *early)

    def reported(self, task_id: str, heard: Heard, at_ms: int) -> None:
        """Count an outcome, if its decision was; keep it if that may yet come.

        Args:
            task_id: of the task.
            heard: the outcome.
            at_ms: when it came, by the server's clock.
        """
        waiting = self._waiting.get(task_id)
        if waiting is None:
            if self._early.get(task_id) is None:
                self._early.put(task_id, (heard, at_ms))
        elif waiting is not _COUNTED:
            self._join(task_id, waiting, heard, at_ms)

    def observation(self, at_ms: int, *, pinned: bool) -> Observation:
        """Return what was seen, up to a moment.

        Args:
            at_ms: the moment, by the server's clock.
            pinned: whether the configuration names the model of treatment.
        """
        self._update()
        control, treatment = (arm.freeze(at_ms) for arm in self._arms)
        return Observation(
            control=control,
            treatment=treatment,
            success=self._success,
            accuracy=self._accuracy,
            ratio=self._ratio,
            models=dict(self._models),
            shadow=self._shadow(pinned=pinned),
            at_ms=at_ms,
        )

    def _assign(self, unit: str | None, share: float, *, treated: bool) -> None:
        """Count a unit in its arm, when it is first seen: its tasks are not independent."""
        if unit is not None:
            if self._units.get(unit):
                return
            self._units.put(unit, value=True)
        count = self._assigned[share]
        count[0] += treated
        count[1] += 1

    def _join(self, task_id: str, waiting: _Waiting, heard: Heard, at_ms: int) -> None:
        self._waiting.put(task_id, _COUNTED)
        success = heard.outcome == "success" and heard.master == waiting.master
        right = heard.speaks_for(waiting.master)
        self._rewards.append((waiting.treated, success, waiting.share))
        if right is not None:
            self._rights.append((waiting.treated, right, waiting.share))
        if waiting.version >= self.staged:
            arm = self._arms[waiting.treated]
            arm.reported(waiting.confidence, at_ms, success=success, right=right)
        if waiting.model is not None and waiting.shadow is not None:
            self._shadows[waiting.model].reported(waiting.shadow, waiting.master, heard)
        if len(self._rewards) >= _AT_ONCE:
            self._update()

    def _update(self) -> None:
        """Hand what was counted since to the monitors, in the order in which it was heard."""
        for share, (treated, n) in self._assigned.items():
            self._ratio = self._ratio.update(treated, share, n)
        self._success = _updated(self._success, self._rewards)
        self._accuracy = _updated(self._accuracy, self._rights)
        self._assigned.clear()
        self._rewards.clear()
        self._rights.clear()

    def _shadow(self, *, pinned: bool) -> Shadow | None:
        """The opinion of the newest model; where one is pinned, of that one."""
        for model in reversed(self._shadows):
            if self._shadows[model].champion or not pinned:
                return self._shadows[model].freeze(model)
        return None


def _updated(monitor: EffectMonitor, heard: Iterable[tuple[bool, bool, float]]) -> EffectMonitor:
    columns = [*zip(*heard, strict=True)]
    return monitor.update(*columns) if columns else monitor
