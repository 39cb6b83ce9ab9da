"""Plays days and nights: the company files tasks, the real code decides, hears, and learns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from chaos.world.company import Company, Hearsay
from chaos.world.tasks import read_kinds
from contracts.messages import RolloutConfig
from learning.dataset import Dataset
from learning.nightly import RoundSettings, Workshop, run
from learning.records import DecisionRecord, OutcomeRecord
from registry.opening import open_model, with_bandit
from registry.registry import Registry
from router.masters import Masters
from router.policy import Policy
from router.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from chaos.world.company import Job, Report
    from contracts.messages import Outcome
    from learning.examples import Example
    from router.policy import Routing
    from vectors.types import Encoder

_BEGAN = datetime(2026, 1, 5, 8, tzinfo=UTC)
_WORKDAY_MS = 10 * 3600 * 1000
_WHO = "the operator of the world"

# Who joins when the world drifts; nobody has seen an outcome of theirs then.
_NEWCOMER = """
[[master]]
name = "data-master"
description = \"\"\"
Answers questions with data and models: dashboards, reports, warehouses, dbt and Airflow, cohorts \
and forecasts, chatbots, prompts, language models and their evaluation.\"\"\"
examples = [
  "The revenue dashboard counts refunds twice",
  "Backfill the orders table after the schema change",
  "The assistant answers with outdated prices",
  "Compare a smaller language model on support tickets",
]
"""


class Scenario(Struct, frozen=True, kw_only=True):
    """One run of the world.

    Attributes:
        nights: how many rounds of learning.
        tasks: how many a day.
        drift: before which day the world drifts; None: never.
        poisoned: share of outcomes that are made up.
        exploration: share of treatment that is not simply given to the best.
    """

    nights: int = 14
    tasks: int = 300
    seed: int = 0
    drift: int | None = None
    poisoned: float = 0.0
    exploration: float = 0.02


class Day(Struct, frozen=True, kw_only=True):
    """How one day went; shares are of its tasks, and expected values, free of that day's luck.

    Attributes:
        day: how many nights of learning came before.
        success: of what was decided.
        oracle: of what the oracle would have decided, who knows every skill.
        rules: of what the rules would have decided.
        drifted: whether the world drifted before this day.
        heard: outcomes that came in on this day.
        verdict: of the round in the night after it; empty after the last day.
        reason: and why.
        seconds: how long the round took.
    """

    day: int
    success: float
    oracle: float
    rules: float
    drifted: bool
    heard: int
    verdict: str = ""
    reason: str = ""
    seconds: float = 0.0


class Player:
    """A company, and a deployment of Cortex of its own in a folder."""

    def __init__(  # noqa: PLR0913 - what a deployment is made of
        self,
        scenario: Scenario,
        folder: Path,
        *,
        encoder: Encoder,
        first: Path,
        seeds: Sequence[Example],
        masters_text: str,
        rules_text: str,
        settings: RoundSettings,
    ) -> None:
        """Set a deployment up.

        Args:
            scenario: what happens.
            folder: empty; data set and registry go there.
            encoder: embeds the tasks.
            first: the seed model.
            seeds: the examples it was trained from.
            masters_text: text of `masters.toml`.
            rules_text: text of `rules.toml`.
            settings: of the nightly rounds.
        """
        self._scenario = scenario
        self._company = Company(scenario.seed, read_kinds(), Hearsay(poisoned=scenario.poisoned))
        self._dataset = Dataset(folder / "dataset")
        self._registry = Registry(folder / "models")
        self._encoder, self._first, self._seeds = encoder, first, seeds
        self._masters_text, self._rules_text = masters_text, rules_text
        self._settings = settings
        self._post: list[Report] = []  # outcomes that are on their way

    def play(self, told: Callable[[Day], None] = lambda _day: None) -> list[Day]:
        """Play all days; after each but the last, a night.

        Args:
            told: of each day as soon as it is over.
        """
        days: list[Day] = []
        for number in range(self._scenario.nights + 1):
            day = self.play_day(number)
            if number < self._scenario.nights:
                day = self._night(day)
            days.append(day)
            told(day)
        return days

    def play_day(self, number: int) -> Day:
        """Decide what is filed on a day, and hear what is reported."""
        drifted = number == self._scenario.drift
        if drifted:
            self._company.drift()
            self._masters_text += _NEWCOMER
        masters = Masters.parse(self._masters_text)
        rules = Rules.parse(self._rules_text, masters)
        serving = self._registry.aliases().get("champion")
        folder = self._first if serving is None else self._registry.path(serving)
        policy = Policy(
            masters,
            rules,
            with_bandit(folder, open_model(folder, masters=masters.names)),
            RolloutConfig(percentage=1.0, exploration=self._scenario.exploration),
        )
        jobs = self._company.jobs(number, self._scenario.tasks)
        texts = [job.description for job in jobs]
        routings = policy.route([job.task_id for job in jobs], texts, self._encoder.encode(texts))
        decided = [routing.selected_master for routing in routings]
        heard = self._work(number, jobs, decided, masters.names)
        self._dataset.append(
            [_decision(number, *each) for each in enumerate(zip(jobs, routings, strict=True))],
            [_outcome(number, *each) for each in enumerate(heard)],
        )
        return Day(
            day=number,
            success=self._expected(jobs, decided),
            oracle=self._expected(
                jobs, (self._company.best(job.kind, masters.names) for job in jobs)
            ),
            rules=self._expected(jobs, (rules.score(text).selected for text in texts)),
            drifted=drifted,
            heard=len(heard),
        )

    def _work(
        self, day: int, jobs: Sequence[Job], decided: Sequence[str], masters: tuple[str, ...]
    ) -> list[Outcome]:
        """Have the masters work, and return what is heard on this day, of earlier days too."""
        reports = (
            self._company.work(job, master, masters, day)
            for job, master in zip(jobs, decided, strict=True)
        )
        self._post += [report for report in reports if report is not None]
        heard = [report.outcome for report in self._post if report.day <= day]
        self._post = [report for report in self._post if report.day > day]
        return heard

    def workshop(self, day: int) -> Workshop:
        """Return what the night after a day works with."""
        masters = Masters.parse(self._masters_text)
        return Workshop(
            reported=self._dataset.reported,
            registry=self._registry,
            encoder=self._encoder,
            masters=masters,
            rules=Rules.parse(self._rules_text, masters),
            seeds=self._seeds,
            first=self._first,
            settings=self._settings,
            now=lambda: _BEGAN + timedelta(days=day, hours=19),
        )

    def _night(self, day: Day) -> Day:
        done = run(self.workshop(day.day))
        if done.version is not None:
            self._registry.promote(done.version, who=_WHO, why=done.reason)
        return msgspec.structs.replace(
            day, verdict=done.verdict, reason=done.reason, seconds=done.seconds
        )

    def _expected(self, jobs: Sequence[Job], decided: Iterable[str]) -> float:
        chances = [
            self._company.skill(job.kind, master) for job, master in zip(jobs, decided, strict=True)
        ]
        return sum(chances) / len(chances)


def _at_ms(day: int, offset_ms: int) -> int:
    return int((_BEGAN + timedelta(days=day)).timestamp() * 1000) + offset_ms


def _decision(day: int, number: int, decided: tuple[Job, Routing]) -> DecisionRecord:
    job, routing = decided
    at_ms = _at_ms(day, number)
    shadow = routing.shadow
    return DecisionRecord(
        stream="decisions",
        entry_id=f"{at_ms}-0",
        at_ms=at_ms,
        task_id=job.task_id,
        text=job.description,
        repo=None,
        timestamp=datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(),
        selected_master=routing.selected_master,
        method=routing.method,
        ab_test_group=routing.ab_test_group,
        bucket=routing.bucket,
        experiment=routing.experiment,
        confidence=routing.confidence,
        fallback_reason=routing.fallback_reason,
        scores=routing.scores,
        propensity=routing.propensity,
        shadow_master=shadow.selected_master if shadow else None,
        shadow_confidence=shadow.confidence if shadow else None,
        shadow_model=None,
        rules_version=routing.rules_version,
        model_version=routing.model_version,
        config_version=0,
    )


def _outcome(day: int, number: int, outcome: Outcome) -> OutcomeRecord:
    at_ms = _at_ms(day, _WORKDAY_MS + number)
    return OutcomeRecord(
        stream="outcomes",
        entry_id=f"{at_ms}-0",
        at_ms=at_ms,
        task_id=outcome.task_id,
        master=outcome.master,
        outcome=outcome.outcome,
        correct_master=outcome.correct_master,
        score=outcome.score,
        duration_ms=outcome.duration_ms,
        detail=outcome.detail,
    )
