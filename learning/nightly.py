"""One round of learning: data set, training, comparison, registry, shadow.

What a round came to is one value with a reason, and one line of `rounds.jsonl` beside the models.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct

from contracts.errors import TransientError
from learning.examples import Example
from learning.gate import (
    Comparison,
    GateSettings,
    Judgement,
    Verdict,
    compare,
    held_back,
    judge,
    refusal,
)
from learning.material import Lesson, Weighing, lessons_of, weigh, written_lessons
from learning.train import TrainSettings, fingerprint, train
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
    from router.rules import Rules, RuleScore
    from vectors.types import Encoder

_FOLDER, _ROUNDS = "rounds", "rounds.jsonl"
_WHO = "cortex learn"


class Round(Struct, frozen=True, kw_only=True):
    """What one round came to.

    Attributes:
        at: when it began; RFC 3339, UTC.
        verdict: `challenger`: a model was registered and is seen in shadow; `refused`: not.
        reason: why, for people.
        champion: version it was compared with; None if rules alone serve.
        version: of the new model; None if there is none.
        fingerprint: of all that was known.
        known_until_ms: when the latest outcome was reported, in milliseconds since 1970.
        outcomes: how many there are.
        new: how many of them the champion was not trained on.
        examples: how many there were to train on, after weighing.
        comparison: candidate, champion and rules on what was held back.
        thresholds: certainty per master below which the new model abstains.
        previous_thresholds: the champion's; going back to it brings them back.
        seconds: how long the round took.
    """

    at: str
    verdict: Verdict
    reason: str
    champion: str | None
    version: str | None = None
    fingerprint: str
    known_until_ms: int
    outcomes: int
    new: int
    examples: int = 0
    comparison: Comparison | None = None
    thresholds: dict[str, float] = {}
    previous_thresholds: dict[str, float] = {}
    seconds: float = 0.0


class RoundSettings(Struct, frozen=True, kw_only=True):
    """How a round is run."""

    gate: GateSettings = GateSettings()
    weighing: Weighing = Weighing()
    training: TrainSettings = TrainSettings()


def _silent(_step: str, _done: int, _total: int) -> None:
    pass


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
    progress: Callable[[str, int, int], None] = _silent


def run(workshop: Workshop, *, dry_run: bool = False) -> Round:
    """Run one round; there is never more than one at a time in a registry.

    Args:
        workshop: what to work with.
        dry_run: neither register a model nor write the round down.

    Raises:
        TransientError: another round is running, or the disk failed.
        FatalError: the data set or the champion is damaged.
    """
    folder = workshop.registry.root / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder, 0.0):
            begun = time.perf_counter()
            done = _Night(workshop).round(dry_run=dry_run)
            done = msgspec.structs.replace(done, seconds=round(time.perf_counter() - begun, 1))
            if not dry_run:
                with (folder / _ROUNDS).open("ab") as log:
                    log.write(msgspec.json.encode(done) + b"\n")
            return done
    except BlockingIOError as error:
        raise TransientError(f"another round is running in {folder}") from error


def read_rounds(registry: Registry) -> list[Round]:
    """Read the rounds of a registry, oldest first; a last line that was cut short is no round."""
    try:
        lines = (registry.root / _FOLDER / _ROUNDS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Round) for line in lines[:-1]]


class _Night:
    """What the steps of one round share."""

    def __init__(self, workshop: Workshop) -> None:
        self._shop = workshop
        self._at = workshop.now()
        weighing = workshop.settings.weighing
        self._written = written_lessons(workshop.seeds, workshop.masters, weighing)
        self._heard = lessons_of(workshop.reported(), workshop.masters)
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
        self._new = np.array([(each.at_ms or 0) > since for each in self._heard], np.bool_)

    def round(self, *, dry_run: bool) -> Round:
        reason = self._refusal()
        if reason is not None:
            return self._ended(Judgement("refused", reason))
        champion = self._champion()
        comparison = self._compare(champion)
        judgement = judge(comparison, self._shop.settings.gate)
        if judgement.verdict == "refused" or dry_run:
            return self._ended(judgement, comparison=comparison)
        # What is judged is the recipe. What is registered learned from the latest, too.
        trained = self._train(self._heard, self._at)
        registry = self._shop.registry
        with tempfile.TemporaryDirectory(dir=registry.root / _FOLDER) as drafts:
            trained.write(Path(drafts))
            version = registry.add(Path(drafts))
        registry.challenge(version, who=_WHO, why=judgement.reason)
        return self._ended(
            judgement,
            version=version,
            comparison=comparison,
            examples=trained.config.trained_on,
            thresholds=trained.config.thresholds,
            previous_thresholds=champion.config.thresholds if champion else {},
        )

    def _refusal(self) -> str | None:
        trained = [each for each in self._rounds if each.version]
        return refusal(
            outcomes=len(self._heard),
            new=int(self._new.sum()),
            fingerprint=self._fingerprint,
            seen=trained[-1].fingerprint if trained else None,
            settings=self._shop.settings.gate,
        )

    def _champion(self) -> NeuralModel | None:
        folder = self._shop.first
        if self._serving is not None:
            folder = self._shop.registry.path(self._serving)
        return None if folder is None else open_model(folder)

    def _compare(self, champion: NeuralModel | None) -> Comparison:
        """Measure what training brings: on part of what is known, judged by what came later."""
        shop = self._shop
        later = held_back(self._new, shop.settings.gate.held_back)
        known = [each for each, back in zip(self._heard, later, strict=True) if not back]
        asked = [
            each
            for each, back in zip(self._heard, later, strict=True)
            if back and each.evidence > 0
        ]
        candidate = self._train(known, _moment(known[-1])).model()
        texts = [each.text for each in asked]
        labels = np.array([each.label for each in asked], object)
        rules = [shop.rules.score(text) for text in texts]
        embeddings = shop.encoder.encode(texts)
        by_rules = np.array([each.selected for each in rules], object)
        by_candidate = _choices(candidate, texts, embeddings, rules)
        by_champion = by_rules if champion is None else _choices(champion, texts, embeddings, rules)
        return compare(
            by_candidate == labels, by_champion == labels, by_rules == labels, shop.settings.gate
        )

    def _train(self, heard: Sequence[Lesson], at: datetime) -> Trained:
        """Train on what was heard by some time and on what was written."""
        shop = self._shop
        examples = weigh(
            [*self._written, *heard],
            shop.encoder,
            int(at.timestamp() * 1000),
            shop.settings.weighing,
        )
        return train(
            examples,
            encoder=shop.encoder,
            rules=shop.rules,
            masters=shop.masters,
            settings=shop.settings.training,
            progress=shop.progress,
        )

    def _ended(self, judgement: Judgement, **more: Any) -> Round:  # noqa: ANN401 - fields of it
        return Round(
            at=self._at.isoformat(),
            verdict=judgement.verdict,
            reason=judgement.reason,
            champion=self._serving,
            fingerprint=self._fingerprint,
            known_until_ms=max((each.at_ms or 0 for each in self._heard), default=0),
            outcomes=len(self._heard),
            new=int(self._new.sum()),
            **more,
        )


def _moment(lesson: Lesson) -> datetime:
    return datetime.fromtimestamp((lesson.at_ms or 0) / 1000, UTC)


def _choices(
    model: NeuralModel,
    texts: Sequence[str],
    embeddings: NDArray[np.float32],
    rules: Sequence[RuleScore],
) -> NDArray[np.object_]:
    """Return whom a model would have tasks go to: where it abstains, that is up to the rules."""
    return np.array(
        [
            rule.selected if each.abstained else max(each.scores, key=each.scores.__getitem__)
            for each, rule in zip(model.predict(texts, embeddings, rules), rules, strict=True)
        ],
        object,
    )
