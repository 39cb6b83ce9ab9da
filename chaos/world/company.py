"""Who can do what, which nobody is told, and what is heard of how a task went."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from contracts.messages import Outcome

if TYPE_CHECKING:
    from chaos.world.tasks import Kind
    from contracts.messages import OutcomeKind

# Who is best at what. For six of the kinds that is not whom their words suggest: the part of a
# company's habits that no text says and only outcomes teach.
_BEST = {
    "crash": "development-master",
    "feature": "development-master",
    "slow": "cicd-master",
    "flaky": "development-master",
    "pipeline": "cicd-master",
    "deploy": "cicd-master",
    "upgrade": "security-master",
    "docs": "inventory-master",
    "licence": "coordinator-master",
    "vulnerability": "security-master",
    "login": "development-master",
    "access": "inventory-master",
    "planning": "coordinator-master",
    "analytics": "data-master",
    "assistant": "data-master",
}
_WENT_BAD = ("deploy", "cicd-master", "development-master")  # kind, who was best, who is then

_MASTERED = 0.93  # chance of success of the best master of a kind
_FAILING = 0.15  # and of one who was it, once it is not any more
_OTHERS = (0.10, 0.40)  # and of everybody else, drawn once per kind and master
_NAMED = 0.5  # share of failures of the wrong master that come back naming another
_NAMED_RIGHT = 0.9  # share of those that name the best one


class Job(NamedTuple):
    """One task, and what it takes."""

    task_id: str
    description: str
    kind: Kind


class Report(NamedTuple):
    """An outcome, and the day it is heard on."""

    day: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Hearsay:
    """How far what is heard is from what happened, as shares of all outcomes.

    Attributes:
        missing: never heard.
        late: heard one day later, and as many of these again a day after that.
        wrong: reported by honest mistake: a success as a failure or the reverse.
        poisoned: made up: the reverse of what happened, every other failure naming somebody.
    """

    missing: float = 0.15
    late: float = 0.125
    wrong: float = 0.02
    poisoned: float = 0.0


@dataclass(slots=True)
class Company:
    """The world behind the stream of tasks.

    What happens on a day depends on the seed, the day and the decisions alone, so that two runs
    that differ in one thing differ by that thing.
    """

    seed: int
    kinds: tuple[Kind, ...]
    hearsay: Hearsay
    _skill: dict[tuple[str, str], float] = field(default_factory=dict)
    _drifted: bool = False

    def drift(self) -> None:
        """Let new kinds of task arrive, and a master lose a skill to another."""
        self._drifted = True
        kind, was, becomes = _WENT_BAD
        self._skill[kind, was] = _FAILING
        self._skill[kind, becomes] = _MASTERED

    def jobs(self, day: int, count: int) -> list[Job]:
        """Return what is filed on a day; every kind is as frequent as any other."""
        rng = random.Random(f"jobs {self.seed} {day}")
        open_kinds = [kind for kind in self.kinds if self._drifted or not kind.later]
        drawn = [rng.choice(open_kinds) for _ in range(count)]
        return [Job(f"d{day}-{n}", kind.text(rng), kind) for n, kind in enumerate(drawn)]

    def skill(self, kind: Kind, master: str) -> float:
        """Return the chance that a master succeeds at a task of a kind."""
        known = self._skill.get((kind.name, master))
        if known is None:
            rng = random.Random(f"skill {self.seed} {kind.name} {master}")
            known = _MASTERED if _BEST[kind.name] == master else rng.uniform(*_OTHERS)
            self._skill[kind.name, master] = known
        return known

    def best(self, kind: Kind, masters: tuple[str, ...]) -> str:
        """Return who would do best: what the oracle chooses."""
        return max(masters, key=lambda master: self.skill(kind, master))

    def work(self, job: Job, master: str, masters: tuple[str, ...], day: int) -> Report | None:
        """Have a master do a task.

        Returns:
            What is heard of it and when; None if nothing ever is.
        """
        rng = random.Random(f"work {self.seed} {job.task_id}")
        succeeded = rng.random() < self.skill(job.kind, master)
        heard, delay, lie = rng.random(), rng.random(), rng.random()
        told = rng.random()
        if heard < self.hearsay.missing:
            return None
        best = self.best(job.kind, masters)
        if lie < self.hearsay.poisoned:
            named = rng.choice(masters) if succeeded and told < _NAMED else None
            outcome = _outcome(job, master, succeeded=not succeeded, named=named)
        else:
            succeeded ^= lie > 1 - self.hearsay.wrong
            right = best if rng.random() < _NAMED_RIGHT else rng.choice(masters)
            named = right if master != best and told < _NAMED else None
            outcome = _outcome(job, master, succeeded=succeeded, named=named)
        return Report(day + (delay < 2 * self.hearsay.late) + (delay < self.hearsay.late), outcome)


def _outcome(job: Job, master: str, *, succeeded: bool, named: str | None) -> Outcome:
    kind: OutcomeKind = "success" if succeeded else "failed"
    if kind == "failed" and named not in {None, master}:
        return Outcome(task_id=job.task_id, master=master, outcome="rerouted", correct_master=named)
    return Outcome(task_id=job.task_id, master=master, outcome=kind)
