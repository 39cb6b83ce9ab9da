"""One round of learning: data set, training, comparison, registry, shadow.

What a round came to is one value with a reason, kept beside the models (`learning.rounds`).
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from contracts.errors import TransientError
from learning import bandit
from learning.comparison import Routers, Trial, choices, compare, scored
from learning.denoise import support
from learning.examples import Example
from learning.gate import GateSettings, Judgement, held_back, judge, refusal
from learning.material import Lesson, Weighing, lessons_of, votes_of, weigh, written_lessons
from learning.risk import Change, recompute
from learning.rounds import FOLDER, Round, read_rounds, write_down
from learning.train import TrainSettings, fingerprint, train
from registry.folder import BANDIT
from registry.opening import open_model
from vectors.disk import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from learning.records import Reported
    from learning.trained import Trained
    from registry.registry import Registry
    from router.masters import Masters
    from router.neural import NeuralModel
    from router.rules import Rules
    from vectors.types import Encoder

_WHO = "cortex learn"

Policy = Literal["even", "thompson"]


class RoundSettings(Struct, frozen=True, kw_only=True):
    """How a round is run.

    Attributes:
        risk: share of a master's tasks that may be followed and wrong before the model abstains;
            never less than what the rules, which decide then, get wrong themselves.
        risk_outcomes: with fewer held-back tasks whose right master is known, the thresholds stay
            as training chose them by cross-validation: of a few dozen, chance would choose.
        policy: how tasks that explore are given away: `even` among plausible masters, or as a
            bandit has it that learns from the same outcomes (`router.bandit`).
    """

    gate: GateSettings = GateSettings()
    weighing: Weighing = Weighing()
    training: TrainSettings = TrainSettings()
    risk: float = 0.1
    risk_outcomes: int = 200
    policy: Policy = "even"


def silent(_step: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """All that a round works with.

    Attributes:
        reported: gives every decision that has an outcome, with it.
        seeds: written examples.
        first: the model that serves where nothing was ever promoted; None: the rules do.
        now: clock.
        progress: told of steps: name, done, total.
    """

    reported: Callable[[], Iterable[Reported]]
    registry: Registry
    encoder: Encoder
    masters: Masters
    rules: Rules
    seeds: Sequence[Example]
    first: Path | None = None
    settings: RoundSettings = field(default_factory=RoundSettings)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    progress: Callable[[str, int, int], None] = silent


def run(workshop: Workshop, *, dry_run: bool = False) -> Round:
    """Run one round; there is never more than one at a time in a registry.

    Args:
        workshop: what to work with.
        dry_run: neither register a model nor write the round down.

    Raises:
        TransientError: another round is running, or the disk failed.
        FatalError: the data set or the champion is damaged.
    """
    folder = workshop.registry.root / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, 0.0):
            begun = time.perf_counter()
            done = _Night(workshop).round(dry_run=dry_run)
            done = msgspec.structs.replace(done, seconds=round(time.perf_counter() - begun, 1))
            if not dry_run:
                write_down(workshop.registry, done)
            return done
    except BlockingIOError as error:
        raise TransientError(f"another round is running in {folder}") from error
    except OSError as error:
        raise TransientError(f"a round in {folder} failed on the disk: {error}") from error


class _Night:
    """What the steps of one round share."""

    def __init__(self, workshop: Workshop) -> None:
        self._shop = workshop
        self._at = workshop.now()
        settings, masters = workshop.settings, workshop.masters
        self._written = written_lessons(workshop.seeds, masters, settings.weighing)
        # How a master did that is gone compares nobody, and no policy could choose it.
        self._reported = sorted(
            (
                each
                for each in workshop.reported()
                if each.decision.selected_master in masters.names
            ),
            key=lambda each: each.outcome.at_ms,
        )
        self._heard = lessons_of(self._reported, masters)
        self._fingerprint = fingerprint(
            [
                Example(each.text, each.label, each.evidence)
                for each in (*self._written, *self._heard)
            ]
        )
        self._serving = workshop.registry.aliases().get("champion")
        self._rounds = read_rounds(workshop.registry)
        known = {each.version: each.known_until_ms for each in self._rounds if each.version}
        since = known.get(self._serving, -1) if self._serving else -1
        self._new = np.array([each.outcome.at_ms > since for each in self._reported], np.bool_)

    def round(self, *, dry_run: bool) -> Round:
        """Go through the steps, as far as there is reason to."""
        settings = self._shop.settings
        latest = next((each for each in reversed(self._rounds) if each.version), None)
        reason = refusal(
            outcomes=len(self._reported),
            new=int(self._new.sum()),
            fingerprint=self._fingerprint,
            seen=latest.fingerprint if latest else None,
            settings=settings.gate,
        )
        if reason is not None:
            return self._ended(Judgement("refused", reason))
        champion = self._champion()
        later = held_back(self._new, settings.gate.held_back)
        trial = self._trial(champion, later)
        judgement = judge(trial.comparison, settings.gate)
        if judgement.verdict == "refused" or dry_run:
            return self._ended(judgement, comparison=trial.comparison)
        # What is judged is the recipe. What is registered learned from the latest, too.
        trained = self._train(self._heard, self._at)
        thresholds, changes = dict(trained.config.thresholds), list[Change]()
        if len(trial.scored.labels) >= settings.risk_outcomes:
            target = max(settings.risk, trial.risk_of_rules)
            thresholds, changes = recompute(
                thresholds, trial.scored, target=target, labels=trained.config.labels
            )
        config = msgspec.structs.replace(trained.config, thresholds=thresholds)
        trained = replace(trained, config=config, beside=self._beside())
        version = self._register(trained, judgement.reason)
        return self._ended(
            judgement,
            version=version,
            comparison=trial.comparison,
            examples=config.trained_on,
            thresholds=thresholds,
            threshold_changes=changes,
            previous_thresholds=champion.config.thresholds if champion else {},
        )

    def _champion(self) -> NeuralModel | None:
        folder = self._shop.first
        if self._serving is not None:
            folder = self._shop.registry.path(self._serving)
        return None if folder is None else open_model(folder)

    def _trial(self, champion: NeuralModel | None, later: NDArray[np.bool_]) -> Trial:
        """Measure what training brings: on what is known but for the last, judged by that."""
        shop = self._shop
        known = [each for each in self._heard if not later[each.task]]
        candidate = self._train(known, _moment(known[-1])).model()
        names = shop.masters.names
        asked = np.flatnonzero(later)
        reported = [self._reported[number] for number in asked.tolist()]
        texts = [each.decision.text for each in reported]
        rules = [shop.rules.score(text) for text in texts]
        embeddings = shop.encoder.encode(texts)
        heard = [*self._written, *self._heard]
        votes = votes_of(heard, names, shop.encoder, int(self._at.timestamp() * 1000))
        trust = shop.settings.weighing.trust
        expected = support(votes, embeddings, trust, asked)
        routers = Routers(
            *(choices(model, texts, embeddings, rules) for model in (candidate, champion, None))
        )
        return Trial(
            compare(reported, expected, names, routers),
            scored(candidate, reported, embeddings, rules),
        )

    def _train(self, heard: Sequence[Lesson], at: datetime) -> Trained:
        """Train on what was heard by some time and on what was written."""
        shop = self._shop
        lessons = [*self._written, *heard]
        now_ms = int(at.timestamp() * 1000)
        material = weigh(lessons, shop.encoder, now_ms, shop.settings.weighing)
        return train(
            material.heard,
            background=material.background,
            encoder=shop.encoder,
            rules=shop.rules,
            masters=shop.masters,
            settings=shop.settings.training,
            progress=shop.progress,
        )

    def _beside(self) -> dict[str, bytes]:
        """Learn how to explore, if that is to be learned."""
        shop = self._shop
        if shop.settings.policy == "even":
            return {}
        learned = bandit.learn(self._reported, shop.masters.names, shop.encoder, shop.rules)
        return {BANDIT: learned.write()}

    def _register(self, trained: Trained, why: str) -> str:
        registry = self._shop.registry
        with tempfile.TemporaryDirectory(dir=registry.root / FOLDER) as draft:
            trained.write(Path(draft))
            version = registry.add(Path(draft))
        registry.challenge(version, who=_WHO, why=why)
        return version

    def _ended(self, judgement: Judgement, **more: Any) -> Round:  # noqa: ANN401 - fields of it
        return Round(
            at=self._at.isoformat(),
            verdict=judgement.verdict,
            reason=judgement.reason,
            champion=self._serving,
            fingerprint=self._fingerprint,
            known_until_ms=max((each.outcome.at_ms for each in self._reported), default=0),
            outcomes=len(self._reported),
            new=int(self._new.sum()),
            **more,
        )


def _moment(lesson: Lesson) -> datetime:
    return datetime.fromtimestamp((lesson.at_ms or 0) / 1000, UTC)
