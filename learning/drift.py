"""Whether the tasks, or what becomes of them, have changed: two windows of decisions compared.

Every aspect is tested with SciPy, and its p-value adjusted for the number of tests by Holm's
method, so that a system in which nothing changes raises an alarm on at most `alpha` of its days.
Since with enough tasks the smallest change is significant, one that is reported must also be large
enough to matter (Wasserstein & Lazar 2016, "The ASA statement on p-values", principle 5).

The tests take the decisions of a window for exchangeable. Bursts of tasks that are alike break
that; the least effects are what keeps such days quiet.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import Struct
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]

_WORD = re.compile(r"[^\W\d_]{2,}")
_SHOWN = 10  # new words


class Window(NamedTuple):
    """Decisions of one stretch of time; what was not measured of them is left out or empty.

    Attributes:
        texts: descriptions of the tasks.
        confidences: shape (n,), float64, 0-1.
        masters: who each went to, n names.
        embeddings: shape (m, dim), float32, of some of the texts.
        fell_back: shape (k,), whether rules stepped in, of decisions in treatment.
        context_found: shape (j,), whether there was context, of decisions for which it was sought.
    """

    texts: Sequence[str]
    confidences: NDArray[np.float64]
    masters: Sequence[str]
    embeddings: NDArray[np.float32] | None
    fell_back: Bools
    context_found: Bools


class Settings(Struct, frozen=True, kw_only=True):
    """When a change is one.

    Attributes:
        alpha: share of days on which a system without drift may raise an alarm.
        least: values on either side below which an aspect is not tested.
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
    resamples: int = 1_999
    seed: int = 0
    mean_shift: float = 0.1
    new_words: float = 0.03
    confidence: float = 0.1
    masters: float = 0.1
    share: float = 0.05


class Measured(NamedTuple):
    """Result of one test; `p_value` is not adjusted."""

    p_value: float
    effect: float


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
        sides = (test.take(reference), test.take(current))
        if any(side is None or len(side) < settings.least for side in sides):
            untested.append(test.name)
        else:
            rng = np.random.default_rng(settings.seed)
            tested.append((test, test.run(*sides, settings.resamples, rng)))
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
    take: Callable[[Window], Sequence[object] | NDArray[np.generic] | None]
    run: Callable[..., Measured]


def _tests(settings: Settings) -> tuple[_Test, ...]:
    share = "difference of shares"
    return (
        _Test(
            "inputs",
            "distance of mean embeddings in standard deviations",
            settings.mean_shift,
            lambda window: window.embeddings,
            mean_shift,
        ),
        _Test(
            "new-words",
            "rise of the share of new words",
            settings.new_words,
            lambda window: window.texts,
            new_words,
        ),
        _Test(
            "confidence",
            "Kolmogorov-Smirnov distance",
            settings.confidence,
            lambda window: window.confidences,
            lambda before, after, *_: distance(before, after),
        ),
        _Test(
            "masters",
            "population stability index",
            settings.masters,
            lambda window: window.masters,
            stability,
        ),
        _Test(
            "fallbacks",
            share,
            settings.share,
            lambda window: window.fell_back,
            lambda before, after, *_: shares(before, after),
        ),
        _Test(
            "context",
            share,
            settings.share,
            lambda window: window.context_found,
            lambda before, after, *_: shares(before, after),
        ),
    )


def mean_shift(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    resamples: int,
    rng: np.random.Generator,
) -> Measured:
    """Compare the means of embeddings by permutation.

    The squared distance of the means is the maximum mean discrepancy with a linear kernel (Gretton
    et al. 2012, "A kernel two-sample test"). What it is by chance alone, its mean over the
    permutations, is taken off; its root by that of the pooled variance is Cohen's d in many
    dimensions.

    Args:
        before: shape (n, dim), n >= 2.
        after: shape (m, dim), m >= 2.
        resamples: permutations.
        rng: draws them.
    """
    pooled = np.concatenate([before, after])
    total, n, m = pooled.sum(axis=0), len(before), len(after)

    def squared(first: NDArray[np.int64], _second: object, axis: int) -> NDArray[np.float64]:
        first = np.atleast_2d(np.moveaxis(first, axis, -1))
        member = np.zeros((len(first), n + m), np.float32)
        np.put_along_axis(member, first.astype(np.int64), 1.0, axis=-1)
        sums = member @ pooled
        apart = sums / n - (total - sums) / m
        found: NDArray[np.float64] = np.square(apart).sum(axis=-1).astype(np.float64)
        return found if len(found) > 1 else found[0]

    rows = np.arange(n + m)
    result = stats.permutation_test(
        (rows[:n], rows[n:]),
        squared,
        vectorized=True,
        n_resamples=resamples,
        batch=256,
        alternative="greater",
        rng=rng,
    )
    by_chance = float(np.mean(result.null_distribution))
    variance = float((before.var(axis=0).sum() * n + after.var(axis=0).sum() * m) / (n + m))
    excess = max(0.0, float(result.statistic) - by_chance)
    return Measured(float(result.pvalue), float(np.sqrt(excess / variance)) if variance else 0.0)


def new_words(
    before: Sequence[str], after: Sequence[str], resamples: int, rng: np.random.Generator
) -> Measured:
    """Compare how many words of a text are new, by Welch's t under permutation.

    Half of the earlier texts give the vocabulary. Against the other half, for which it is as
    unfamiliar as for any text, the later ones are tested: new words come every day. Permuting the
    studentised statistic is right for unequal variances too (Janssen 1997, "Studentized permutation
    tests for non-i.i.d. hypotheses").
    """
    order = rng.permutation(len(before))
    half = len(before) // 2
    known = {word for row in order[:half] for word in _words(before[row])}
    held = _unknown_shares((before[row] for row in order[half:]), known)
    found = _unknown_shares(after, known)
    method = stats.PermutationMethod(n_resamples=resamples, batch=256, rng=rng)
    if np.ptp(np.concatenate([held, found])) == 0:
        return Measured(1.0, 0.0)
    result = stats.ttest_ind(found, held, equal_var=False, alternative="greater", method=method)
    return Measured(float(result.pvalue), max(0.0, float(found.mean() - held.mean())))


def distance(before: NDArray[np.float64], after: NDArray[np.float64]) -> Measured:
    """Compare two distributions by Kolmogorov and Smirnov; with ties it errs on the quiet side."""
    result = stats.ks_2samp(before, after)
    return Measured(float(result.pvalue), float(result.statistic))


def stability(
    before: Sequence[str], after: Sequence[str], resamples: int, rng: np.random.Generator
) -> Measured:
    """Compare categories by Pearson's chi-square, by simulation, so that rare ones may be there.

    The effect is the population stability index, sum of (q - p) ln(q / p), with half a count more
    everywhere (Krichevsky & Trofimov 1981), so that a category which appears does not make it
    infinite.
    """
    counts = Counter(before), Counter(after)
    names = sorted(counts[0].keys() | counts[1].keys())
    if len(names) == 1:
        return Measured(1.0, 0.0)
    table = np.array([[count[name] for name in names] for count in counts])
    method = stats.MonteCarloMethod(n_resamples=resamples, rvs=None, rng=rng)
    result = stats.chi2_contingency(table, correction=False, method=method)
    p, q = (table + 0.5) / (table + 0.5).sum(axis=1, keepdims=True)
    return Measured(float(result.pvalue), float(np.sum((q - p) * np.log(q / p))))


def shares(before: Bools, after: Bools) -> Measured:
    """Compare two shares by Fisher's exact test."""
    table = [[int(side.sum()), int((~side).sum())] for side in (before, after)]
    result = stats.fisher_exact(table)
    return Measured(float(result.pvalue), abs(float(after.mean() - before.mean())))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false alarm among them is bounded.

    Holm 1979, "A simple sequentially rejective multiple test procedure": the smallest times n, the
    next times n - 1 and so on, never falling. It needs no independence of the tests.
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    raised = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(raised, 1.0)
    return [float(each) for each in adjusted]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _unknown_shares(texts: Iterable[str], known: Collection[str]) -> NDArray[np.float64]:
    """Share of unknown words per text, for texts that have words."""
    split = [words for text in texts if (words := _words(text))]
    return np.array([sum(word not in known for word in words) / len(words) for words in split])


def _news(before: Iterable[str], after: Iterable[str]) -> dict[str, int]:
    known = {word for text in before for word in _words(text)}
    found = Counter(word for text in after for word in {*_words(text)} - known)
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {word: count for word, count in ordered[:_SHOWN] if count > 1}
