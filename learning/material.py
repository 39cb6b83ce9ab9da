"""From what was decided and how it went to what a model is trained on tonight."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

from learning.denoise import Trust, Votes, support
from learning.examples import Example

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from learning.records import Reported
    from router.masters import Masters
    from vectors.types import Encoder

_JUDGING = 2  # examples of a label: one to learn from while the other is held back
_DAY_MS = 24 * 3600 * 1000


class Weighing(Struct, frozen=True, kw_only=True):
    """How much the parts of the material count.

    Attributes:
        trust: how labels are checked against their neighbours.
        written: strength of the vote of an example that somebody wrote: any outcome outweighs it.
        until_data: written examples of a master count half once so many outcomes speak of it.
        least: examples that count less than this are left out.
    """

    trust: Trust = Trust()
    written: float = 0.1
    until_data: int = 100
    least: float = 0.05


class Material(NamedTuple):
    """What a model is trained on.

    Attributes:
        heard: of outcomes; by these a model is judged and calibrated.
        background: of what was written, and labels of which too little was heard to judge by.
    """

    heard: list[Example]
    background: list[Example]


class Lesson(NamedTuple):
    """What one outcome, or one written example, says.

    Attributes:
        evidence: above 0, `label` was right, by so much; below 0, it was wrong.
        task: position of its task in the data set; below 0, a different one each, for what was
            written.
        at_ms: when that was known, in milliseconds since 1970; None for what was written.
    """

    text: str
    label: str
    evidence: float
    task: int
    at_ms: int | None = None


def lessons_of(reported: Iterable[Reported], masters: Masters) -> list[Lesson]:
    """Read outcomes as evidence; what speaks of masters that are gone is left out.

    A success speaks for the master that had it, by its score. A failure, or passing the task on,
    speaks against the one that reports it, and naming the right one for that one.

    Args:
        reported: decisions with their outcomes.
        masters: who there is now.

    Returns:
        At most two lessons a decision, in the order in which they were reported.
    """
    found: list[Lesson] = []
    for task, (decision, outcome) in enumerate(reported):
        if outcome.outcome == "success":
            score = 1.0 if outcome.score is None else outcome.score
            found.append(Lesson(decision.text, outcome.master, score, task, outcome.at_ms))
            continue
        found.append(Lesson(decision.text, outcome.master, -1.0, task, outcome.at_ms))
        if outcome.correct_master is not None:
            found.append(Lesson(decision.text, outcome.correct_master, 1.0, task, outcome.at_ms))
    known = set(masters.names)
    kept = [lesson for lesson in found if lesson.label in known and lesson.evidence]
    return sorted(kept, key=lambda lesson: lesson.at_ms or 0)


def written_lessons(seeds: Sequence[Example], masters: Masters, weighing: Weighing) -> list[Lesson]:
    """Read what people wrote: the seed examples, and what each master's file says of it.

    Args:
        seeds: examples; of masters there are not, none is taken.
        masters: their descriptions and examples make a new one known before its first task.
        weighing: how much a written example counts.
    """
    own = [
        (text, master.name)
        for master in masters.all
        for text in (master.description.strip(), *master.examples)
    ]
    known = set(masters.names)
    said = [(seed.text, seed.label) for seed in seeds if seed.label in known]
    return [
        Lesson(text, label, weighing.written, -1 - number)
        for number, (text, label) in enumerate(dict.fromkeys(own + said))
    ]


def votes_of(
    lessons: Sequence[Lesson], labels: Sequence[str], encoder: Encoder, now_ms: int
) -> Votes:
    """Lay lessons out as votes.

    Args:
        lessons: what is known; at least one.
        labels: all labels that occur in it; their positions are the votes' labels.
        encoder: whose embeddings say what is a neighbour.
        now_ms: milliseconds since 1970, from which ages count.
    """
    return Votes(
        encoder.encode([lesson.text for lesson in lessons]),
        np.array([labels.index(lesson.label) for lesson in lessons], np.intp),
        np.array([lesson.evidence for lesson in lessons]),
        np.array([_age_days(lesson, now_ms) for lesson in lessons]),
        np.array([lesson.task for lesson in lessons], np.intp),
        len(labels),
    )


def weigh(lessons: Sequence[Lesson], encoder: Encoder, now_ms: int, weighing: Weighing) -> Material:
    """Turn lessons into training examples: a text each, with the label that its neighbours support.

    What an outcome says itself is one vote among theirs. So a lie is outvoted, a task that failed
    gets the master that did such tasks well, and one that went well by luck does, too. The weight
    is the label's share of all support: how sure that is. What was written counts the less, the
    more outcomes speak of its master: it stands in for them.

    Args:
        lessons: what is known; at least one.
        encoder: whose embeddings say what is a neighbour.
        now_ms: milliseconds since 1970, from which ages count.
        weighing: how much the parts count.

    Returns:
        One example a text, with a weight of at most 1, in one of the parts.
    """
    labels = sorted({lesson.label for lesson in lessons})
    votes = votes_of(lessons, labels, encoder, now_ms)
    shares = support(votes, votes.embeddings, weighing.trust)
    outcomes = Counter(lesson.label for lesson in lessons if lesson.at_ms is not None)
    heard: dict[str, Example] = {}
    written: dict[str, Example] = {}
    for lesson, share in zip(lessons, shares, strict=True):
        if not share.any():  # all that is known is who should not have it
            continue
        label = labels[share.argmax()]
        weight = float(share.max() / share.sum())
        if lesson.at_ms is None:
            weight *= weighing.until_data / (weighing.until_data + outcomes[label])
        if weight >= weighing.least:
            part = written if lesson.at_ms is None else heard
            part[lesson.text] = Example(lesson.text, label, round(weight, 4))
    judging = Counter(each.label for each in heard.values())
    seldom = [each for each in heard.values() if judging[each.label] < _JUDGING]
    return Material(
        [each for each in heard.values() if judging[each.label] >= _JUDGING],
        [*seldom, *(each for text, each in written.items() if text not in heard)],
    )


def _age_days(lesson: Lesson, now_ms: int) -> float:
    return 0.0 if lesson.at_ms is None else max(0, now_ms - lesson.at_ms) / _DAY_MS
