"""Whether the tasks, or what becomes of them, have changed: two windows of decisions compared.

Every aspect is tested by permuting hours, and its p-value adjusted for the number of tests by
Holm's method, so that a system in which nothing changes raises an alarm on at most `alpha` of its
days. Since with enough tasks the smallest change is significant, one that is reported must also be
large enough to matter (Wasserstein & Lazar 2016, "The ASA statement on p-values", principle 5).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct

from learning.two_sample import (
    Chance,
    Grouped,
    distance,
    holm,
    mean_shift,
    new_words,
    shares,
    stability,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from learning.two_sample import Measured

    Bools = NDArray[np.bool_]

_SHOWN = 10  # new words


class Window(NamedTuple):
    """Decisions of one stretch of time.

    Attributes:
        hours: shape (n,), the hour in which each was decided, counted from anywhere.
        texts: descriptions of the tasks.
        confidences: shape (n,), float64, 0-1.
        masters: who each went to.
        embedded: shape (m,), rows of the texts that are embedded.
        embeddings: shape (m, dim), float32; None if there is no encoder.
        treated: shape (n,), whether it was in the treatment arm.
        fell_back: shape (n,), whether rules stepped in.
        sought: shape (n,), whether context was sought.
        context_found: shape (n,), whether there was any.
    """

    hours: NDArray[np.int64]
    texts: Sequence[str]
    confidences: NDArray[np.float64]
    masters: Sequence[str]
    embedded: NDArray[np.int64]
    embeddings: NDArray[np.float32] | None
    treated: Bools
    fell_back: Bools
    sought: Bools
    context_found: Bools


class Settings(Struct, frozen=True, kw_only=True):
    """When a change is one.

    Attributes:
        alpha: share of days on which a system without drift may raise an alarm.
        least: decisions on either side below which an aspect is not tested.
        hours: on either side in which there must have been any.
        resamples: of tests by permutation; p-values are no smaller than 1 / (resamples + 1).
        seed: of the permutations.
        mean_shift: least effect, in standard deviations. With our encoder, if every task were from
            one master's field, it would be 0.18 to 0.25 (seed examples).
        new_words: least rise of the share of words that are new, 0-1.
        confidence: least distance between the distributions, 0-1.
        masters: least population stability index. 0.1 is "some change", 0.25 "a major shift"
            (Siddiqi 2006, "Credit Risk Scorecards", chapter 8).
        share: least difference between two shares, 0-1.
    """

    alpha: float = 0.01
    least: int = 100
    hours: int = 4
    resamples: int = 1_999
    seed: int = 0
    mean_shift: float = 0.1
    new_words: float = 0.03
    confidence: float = 0.1
    masters: float = 0.1
    share: float = 0.05


class Aspect(Struct, frozen=True, kw_only=True):
    """What one comparison came to.

    Attributes:
        name: `inputs`, `new-words`, `confidence`, `masters`, `fallbacks` or `context`.
        measure: what `effect` is.
        least: effect below which nothing is said.
        p_value: adjusted for all tests of the report.
        drifted: whether it is both significant and large.
    """

    name: str
    measure: str
    effect: float
    least: float
    p_value: float
    drifted: bool


class Report(Struct, frozen=True, kw_only=True):
    """What changed between two windows.

    Attributes:
        reference: decisions of the earlier window.
        current: decisions of the later one.
        untested: aspects of which there was too little.
        new_words: the most frequent words of the later window that the earlier one lacks, each
            with the number of tasks it stands in.
    """

    reference: int
    current: int
    alpha: float
    aspects: list[Aspect]
    untested: list[str]
    new_words: dict[str, int]

    @property
    def drifted(self) -> list[Aspect]:
        """Aspects that changed."""
        return [each for each in self.aspects if each.drifted]


def compare(reference: Window, current: Window, settings: Settings) -> Report:
    """Compare a window with an earlier one."""
    tested: list[tuple[_Test, Measured]] = []
    untested: list[str] = []
    for test in _tests(settings):
        sides = test.take(reference), test.take(current)
        if all(_suffices(side, settings) for side in sides):
            chance = Chance(settings.resamples, np.random.default_rng(settings.seed))
            tested.append((test, test.run(*sides, chance)))
        else:
            untested.append(test.name)
    adjusted = holm([measured.p_value for _, measured in tested])
    return Report(
        reference=len(reference.texts),
        current=len(current.texts),
        alpha=settings.alpha,
        aspects=[
            Aspect(
                name=test.name,
                measure=test.measure,
                effect=measured.effect,
                least=test.least,
                p_value=p_value,
                drifted=p_value <= settings.alpha and measured.effect >= test.least,
            )
            for (test, measured), p_value in zip(tested, adjusted, strict=True)
        ],
        untested=untested,
        new_words=_news(reference.texts, current.texts),
    )


class _Test(NamedTuple):
    name: str
    measure: str
    least: float
    take: Callable[[Window], Grouped]
    run: Callable[[Grouped, Grouped, Chance], Measured]


def _tests(settings: Settings) -> tuple[_Test, ...]:
    distance_of_means = "distance of mean embeddings in standard deviations"
    share = "difference of shares"
    return (
        _Test("inputs", distance_of_means, settings.mean_shift, _embeddings, mean_shift),
        _Test(
            "new-words",
            "rise of the share of new words",
            settings.new_words,
            lambda window: Grouped(window.texts, window.hours),
            new_words,
        ),
        _Test(
            "confidence",
            "Kolmogorov-Smirnov distance",
            settings.confidence,
            lambda window: Grouped(window.confidences, window.hours),
            distance,
        ),
        _Test(
            "masters",
            "population stability index",
            settings.masters,
            lambda window: Grouped(window.masters, window.hours),
            stability,
        ),
        _Test(
            "fallbacks",
            share,
            settings.share,
            lambda window: _of(window.treated, window.fell_back, window.hours),
            shares,
        ),
        _Test(
            "context",
            share,
            settings.share,
            lambda window: _of(window.sought, window.context_found, window.hours),
            shares,
        ),
    )


def _embeddings(window: Window) -> Grouped:
    if window.embeddings is None:
        return Grouped((), np.empty(0, np.int64))
    return Grouped(window.embeddings, window.hours[window.embedded])


def _of(which: Bools, rows: Bools, hours: NDArray[np.int64]) -> Grouped:
    return Grouped(rows[which], hours[which])


def _suffices(side: Grouped, settings: Settings) -> bool:
    return len(side.rows) >= settings.least and len(np.unique(side.blocks)) >= settings.hours


def _news(before: Iterable[str], after: Iterable[str]) -> dict[str, int]:
    known = {word for text in before for word in words(text)}
    found = Counter(word for text in after for word in {*words(text)} - known)
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {word: count for word, count in ordered[:_SHOWN] if count > 1}
