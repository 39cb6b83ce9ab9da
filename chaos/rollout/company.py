"""Tasks of which it is known who should have them, a planted model, and what masters report."""

from __future__ import annotations

import time
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

from contracts.messages import Outcome, RolloutConfig, Task
from router.masters import Masters
from router.model import Prediction
from router.policy import Policy
from router.rules import Rules
from vectors.encoder import open_encoder
from worker.embedding import Embedder
from worker.handle import Handler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from contracts.messages import Decision
    from router.rules import RuleScore

RULES_RIGHT = 0.8
VERSION = "planted"
_LATENCY_MS = 5.0  # mean


class _Line(Struct):
    description: str


class _Blind(Embedder):
    """Embeds nothing: the planted model need not read."""

    def __init__(self) -> None:
        super().__init__(open_encoder)  # which nobody asks it to

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one empty vector per text."""
        return np.zeros((len(texts), 1), np.float32)


class Company:
    """One company's tasks, the same for the same seed.

    Rules are right on a task with probability `RULES_RIGHT`, the model with another, each by a
    coin of its own, and the model knows how often it is right.
    """

    version = VERSION

    def __init__(self, model_right: float, seed: int) -> None:
        """Read rules, masters and descriptions as they are shipped."""
        router = files("router")
        self.masters = Masters.parse(router.joinpath("masters.toml").read_text("utf-8"))
        self.rules = Rules.parse(router.joinpath("rules.toml").read_text("utf-8"), self.masters)
        lines = files("ops").joinpath("data", "demo_tasks.jsonl").read_bytes().splitlines()
        self._texts = [msgspec.json.decode(line, type=_Line).description for line in lines]
        self._model_right = model_right
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self._right: list[str] = []
        self._picked: list[str] = []

    def tasks(self, count: int) -> list[Task]:
        """Make tasks that there never were."""
        first = len(self._right)
        texts = self._rng.integers(len(self._texts), size=count)
        tasks = [
            Task(
                task_id=f"{self._seed}-{first + n}",
                description=f"{self._texts[text]} #{first + n}",
            )
            for n, text in enumerate(texts.tolist())
        ]
        for task, rules_right, model_right in zip(
            tasks,
            self._rng.random(count) < RULES_RIGHT,
            self._rng.random(count) < self._model_right,
            strict=True,
        ):
            chosen = self.rules.score(task.description).selected
            right = chosen if rules_right else self._another(chosen)
            self._right.append(right)
            self._picked.append(right if model_right else self._another(right))
        return tasks

    def decide(self, tasks: Sequence[Task], config: RolloutConfig) -> list[Decision]:
        """Decide as workers do."""
        policy = Policy(self.masters, self.rules, self, config)
        handler = Handler(policy, _Blind(), retriever=None, max_deliveries=5)
        now = [time.perf_counter()] * len(tasks)
        decided = handler.decide(tasks, now, [1] * len(tasks))
        # How busy this machine is must not decide anything.
        latencies = self._rng.gamma(2.0, _LATENCY_MS / 2.0, len(tasks)).tolist()
        return [
            msgspec.structs.replace(decision, latency_ms=latency)
            for decision, latency in zip(decided, latencies, strict=True)
        ]

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        """Be the planted model; see `router.model.Model`."""
        del embeddings, rules
        others = (1 - self._model_right) / (len(self.masters.names) - 1)
        return [
            Prediction(
                dict.fromkeys(self.masters.names, others) | {self._picked[n]: self._model_right}
            )
            for n in map(_number, descriptions)
        ]

    def report(self, decision: Decision) -> Outcome:
        """Report as the master that got the task: done, or passed on to the right one."""
        right, master = self._right[_number(decision.description)], decision.selected_master
        if master == right:
            return Outcome(task_id=decision.task_id, master=master, outcome="success")
        return Outcome(
            task_id=decision.task_id, master=master, outcome="rerouted", correct_master=right
        )

    def shuffled(self, count: int) -> list[int]:
        """Return places in an order of chance."""
        order: list[int] = self._rng.permutation(count).tolist()
        return order

    def chance(self) -> float:
        """Return a number between 0 and 1."""
        return float(self._rng.random())

    def _another(self, name: str) -> str:
        others = [each for each in self.masters.names if each != name]
        return others[int(self._rng.integers(len(others)))]


def _number(description: str) -> int:
    return int(description.rpartition("#")[2])
