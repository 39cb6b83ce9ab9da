"""How often the truth lies in off-policy intervals: `python -m chaos.world.coverage [--json]`.

The company's tasks are decided by the shipped model with exploration, as in production. From each
log it is estimated what another policy would have earned, and here that is known: the skills are.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import numpy as np
import typer
from rich.progress import track

from chaos.world.company import Company, Hearsay
from chaos.world.deployment import Deployment
from chaos.world.tasks import read_kinds
from contracts.messages import RolloutConfig
from learning.bandit import principal_axes
from learning.logged import Logged
from learning.offpolicy import Estimate, doubly_robust, ips, lift, snips
from learning.rewards import cross_fitted
from router.bandit import rule_table, task_features
from router.explore import epsilon_greedy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]

_TASKS = 3_000  # different ones; each log draws from these, so that the truth is their mean
_AXES = 16
_MISSING = Hearsay().missing


class _Population(NamedTuple):
    """All tasks, and what policies would do with them; n tasks, k masters.

    Attributes:
        texts: n descriptions.
        embeddings: shape (n, dim), float32.
        features: shape (n, d), what rewards are predicted from.
        skills: shape (n, k), chance of success.
        best: shape (n, k), what the model does that does not explore: rows of one 1.
        other: shape (n, k), likewise: the rules where the model finds that plausible.
    """

    texts: list[str]
    embeddings: NDArray[np.float32]
    features: Floats
    skills: Floats
    best: Floats
    other: Floats

    def truth(self, target: Floats) -> float:
        """Return what a policy earns."""
        return float((target * self.skills).sum(axis=1).mean())


class Found(NamedTuple):
    """Whether the truth lay in an interval, 0 or 1, and how wide that was; or means of these."""

    inside: float
    width: float


class Coverage:
    """A company's tasks under a policy that explores."""

    def __init__(self, deployment: Deployment, *, seed: int, exploration: float) -> None:
        """Look at all tasks.

        Args:
            deployment: whose model, masters and rules decide.
            seed: of the company and of what happens.
            exploration: share of tasks that explore, 0-0.1.
        """
        self._company = Company(seed, read_kinds(), Hearsay())
        self._rng = np.random.default_rng(seed)
        self._policy = deployment.policy(RolloutConfig(percentage=1.0, exploration=exploration))
        self._names = self._policy.masters.names
        self._least = exploration / (len(self._names) + 1)  # whole buckets round a share down
        self._tasks = self._look(deployment, exploration)

    def log(self, repetition: int, tasks: int) -> dict[str, Found]:
        """Log tasks, and estimate what the other policy would have earned, or gained."""
        heard = self._rng.random(tasks) >= _MISSING
        rows = self._rng.integers(0, _TASKS, tasks)[heard]
        logged = self._decide(repetition, rows)
        best, other = self._tasks.best[rows], self._tasks.other[rows]
        predicted = cross_fitted(logged, self._tasks.features[rows], len(self._names))
        truth = self._tasks.truth(self._tasks.other)
        gain = truth - self._tasks.truth(self._tasks.best)
        estimates: dict[str, tuple[Estimate, float]] = {
            "ips": (ips(logged, other), truth),
            "snips": (snips(logged, other), truth),
            "dr": (doubly_robust(logged, other, predicted), truth),
            "lift": (lift(logged, other, best, predicted), gain),
        }
        return {
            name: Found(float(found.low <= right <= found.high), found.high - found.low)
            for name, (found, right) in estimates.items()
        }

    def _decide(self, repetition: int, rows: Rows) -> Logged:
        """Have the policy decide tasks, and the masters work."""
        routings = self._policy.route(
            [f"r{repetition}-{number}" for number in range(len(rows))],
            [self._tasks.texts[row] for row in rows.tolist()],
            self._tasks.embeddings[rows],
        )
        actions = np.array([self._names.index(each.selected_master) for each in routings], np.intp)
        succeeded = self._rng.random(len(rows)) < self._tasks.skills[rows, actions]
        propensities = np.array([each.propensity for each in routings])
        return Logged(succeeded.astype(np.float64), actions, propensities, self._least)

    def _look(self, deployment: Deployment, exploration: float) -> _Population:
        jobs = self._company.jobs(0, _TASKS)
        texts = [job.description for job in jobs]
        embeddings = deployment.encoder.encode(texts)
        rules = [self._policy.rules.score(text) for text in texts]
        routings = deployment.policy(RolloutConfig(percentage=1.0)).route(texts, texts, embeddings)
        best = [each.selected_master for each in routings]
        other = [
            rule.selected
            if each.method == "neural" and rule.selected in epsilon_greedy(each.scores, exploration)
            else each.selected_master
            for each, rule in zip(routings, rules, strict=True)
        ]
        features = task_features(
            principal_axes(embeddings, _AXES), embeddings, rule_table(rules, self._names)
        )
        skills = [[self._company.skill(job.kind, name) for name in self._names] for job in jobs]
        return _Population(
            texts,
            embeddings,
            features[:, 1:],
            np.array(skills),
            *(self._certain(each) for each in (best, other)),
        )

    def _certain(self, chosen: list[str]) -> Floats:
        certain: Floats = np.eye(len(self._names))[[self._names.index(name) for name in chosen]]
        return certain


def main(
    *,
    repetitions: Annotated[int, typer.Option(min=1, help="Logs.")] = 200,
    tasks: Annotated[int, typer.Option(min=40, help="Tasks in each.")] = 1_000,
    exploration: Annotated[float, typer.Option(min=0.001, max=0.1)] = 0.1,
    seed: Annotated[int, typer.Option(help="Repeats it.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Measure how often off-policy intervals of 95 % hold the truth."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="cortex-world-") as home:
        coverage = Coverage(Deployment(Path(home)), seed=seed, exploration=exploration)
    found = [
        coverage.log(number, tasks)
        for number in track(range(repetitions), "logs", disable=not sys.stderr.isatty())
    ]
    means = {
        name: Found(*np.mean([each[name] for each in found], axis=0).tolist()) for name in found[0]
    }
    if as_json:
        plain = {name: each._asdict() for name, each in means.items()}
        sys.stdout.write(msgspec.json.encode(plain).decode() + "\n")
    else:
        lines = (f"{name:6} {each.inside:.1%}  {each.width:.2f}\n" for name, each in means.items())
        sys.stdout.write("".join(("       inside  width\n", *lines)))


if __name__ == "__main__":
    typer.run(main)
