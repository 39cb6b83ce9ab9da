"""What a run of questions comes to. Pure: from ranked paths to figures with intervals."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RESAMPLES = 2_000
_LEVEL = 0.95
_DEPTHS = (1, 5, 10)


class Answer(Struct, frozen=True):
    """What was found for one question.

    Attributes:
        relevant: files that the work really touched, of those that existed.
        files: ten files at most, the best first, each once.
        context: paths of the five chunks that a decision would carry.
        seconds: from the text to the result, embedding included.
    """

    relevant: frozenset[str]
    files: tuple[str, ...]
    context: tuple[str, ...]
    seconds: float


class Figure(Struct, frozen=True):
    """A mean over questions, 0-1, and the ends of its 95 % interval (percentile bootstrap)."""

    value: float
    low: float
    high: float


class Figures(Struct, frozen=True, kw_only=True):
    """Figures of n questions.

    Attributes:
        hit_at_1: share of questions with a touched file in the first place; 5 and 10 likewise.
        mrr_at_10: mean of 1 / place of the first touched file, 0 beyond the tenth.
        recall_at_5: mean share of the touched files that are among the first five.
        context_hit_share_at_5: share of questions with a touched file among the top five chunks.
        empty: share of questions for which nothing was found relevant.
    """

    n: int
    hit_at_1: Figure
    hit_at_5: Figure
    hit_at_10: Figure
    mrr_at_10: Figure
    recall_at_5: Figure
    recall_at_10: Figure
    context_hit_share_at_5: Figure
    empty: Figure


class Latency(Struct, frozen=True):
    """Quantiles in ms, one question at a time, embedding included."""

    p50: float
    p99: float


def figures(answers: Sequence[Answer]) -> Figures:
    """Add answers up; there must be one at least."""
    return Figures(
        n=len(answers),
        **{f"hit_at_{k}": _mean(answers, _hit(k)) for k in _DEPTHS},
        mrr_at_10=_mean(answers, _reciprocal_rank),
        recall_at_5=_mean(answers, _recall(5)),
        recall_at_10=_mean(answers, _recall(10)),
        context_hit_share_at_5=_mean(
            answers, lambda each: float(not each.relevant.isdisjoint(each.context))
        ),
        empty=_mean(answers, lambda each: float(not each.context)),
    )


def per_language(answers: Sequence[Answer]) -> dict[str, Figures]:
    """Figures by the suffix of touched files; a question counts under each suffix it has."""
    groups: defaultdict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        for suffix in {PurePosixPath(path).suffix or "none" for path in answer.relevant}:
            groups[suffix].append(answer)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return {suffix: figures(group) for suffix, group in ordered}


def latency(answers: Sequence[Answer]) -> Latency:
    """Quantiles of how long questions took."""
    p50, p99 = np.quantile([1_000 * each.seconds for each in answers], (0.5, 0.99))
    return Latency(round(float(p50), 3), round(float(p99), 3))


def _hit(k: int) -> Callable[[Answer], float]:
    return lambda each: float(not each.relevant.isdisjoint(each.files[:k]))


def _recall(k: int) -> Callable[[Answer], float]:
    return lambda each: len(each.relevant.intersection(each.files[:k])) / len(each.relevant)


def _reciprocal_rank(answer: Answer) -> float:
    places = (n for n, path in enumerate(answer.files[:10], 1) if path in answer.relevant)
    return 1 / next(places, np.inf)


def share(values: Sequence[float]) -> Figure:
    """The mean of values between 0 and 1; there must be one at least."""
    found = np.array(values)
    drawn = np.random.default_rng(0).integers(0, len(found), (_RESAMPLES, len(found)))
    tails = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)
    low, high = np.quantile(found[drawn].mean(1), tails)
    return Figure(*(round(float(each), 4) for each in (found.mean(), low, high)))


def _mean(answers: Sequence[Answer], measure: Callable[[Answer], float]) -> Figure:
    return share([measure(each) for each in answers])
