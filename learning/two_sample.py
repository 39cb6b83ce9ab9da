"""Tests of whether two samples come from the same source, each with the size of the difference.

Tasks come in bursts that are alike, so decisions of one hour are not independent of one another,
and tests that take them for it see drift on quiet days. Here whole blocks, the hours, are permuted
(restricted permutation of exchangeable blocks: Winkler et al. 2014, "Permutation inference for the
general linear model", section "Exchangeability blocks"). Each statistic depends on sums over the
blocks alone, so that a permutation costs one product of matrices.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    Sums = NDArray[np.float64]

_WORD = re.compile(r"[^\W\d_]{2,}")
_BINS = 100  # of 0-1
_BATCH = 256  # permutations at a time


class Grouped(NamedTuple):
    """A sample.

    Attributes:
        rows: n values, of what kind each test says.
        blocks: shape (n,), number of the block that each belongs to.
    """

    rows: Any
    blocks: NDArray[np.int64]


class Chance(NamedTuple):
    """How many permutations to draw, and from where."""

    resamples: int
    rng: np.random.Generator


class Measured(NamedTuple):
    """Result of one test: the chance of such a difference without any cause, and its size."""

    p_value: float
    effect: float


def mean_shift(before: Grouped, after: Grouped, chance: Chance) -> Measured:
    """Compare the means of vectors; rows are of shape (n, dim).

    The squared distance of the means is the maximum mean discrepancy with a linear kernel (Gretton
    et al. 2012, "A kernel two-sample test"). What it is by chance alone, its mean over the
    permutations, is taken off; its root by that of the pooled variance is Cohen's d in many
    dimensions.
    """

    def squared(first: Sums, second: Sums) -> Sums:
        apart = _means(first) - _means(second)
        found: Sums = np.square(apart).sum(axis=-1)
        return found

    result = _permute(_sums(*before), _sums(*after), squared, chance)
    sizes = len(before.rows), len(after.rows)
    variances = [float(side.rows.var(axis=0).sum()) for side in (before, after)]
    variance = float(np.average(variances, weights=sizes))
    excess = max(0.0, float(result.statistic) - float(np.mean(result.null_distribution)))
    return Measured(float(result.pvalue), float(np.sqrt(excess / variance)) if variance else 0.0)


def new_words(before: Grouped, after: Grouped, chance: Chance) -> Measured:
    """Compare how many words of a text are new; rows are texts. The effect is a share, 0-1.

    Half of the earlier blocks give the vocabulary. Against the other half, for which it is as
    unfamiliar as for any text, the later texts are tested: new words come every day.
    """
    order = chance.rng.permutation(np.unique(before.blocks))
    gives = np.isin(before.blocks, order[: len(order) // 2])
    given, held = _rows(before, gives), _rows(before, ~gives)
    known = {word for text in given for word in words(text)}

    def rise(first: Sums, second: Sums) -> Sums:
        found: Sums = (_means(second) - _means(first))[..., 0]
        return found

    result = _permute(
        _sums(_unknown_shares(held, known), before.blocks[~gives]),
        _sums(_unknown_shares(after.rows, known), after.blocks),
        rise,
        chance,
    )
    return Measured(float(result.pvalue), max(0.0, float(result.statistic)))


def distance(before: Grouped, after: Grouped, chance: Chance) -> Measured:
    """Compare distributions by the distance of Kolmogorov and Smirnov; rows are numbers 0-1."""

    def largest_gap(first: Sums, second: Sums) -> Sums:
        cumulative = [np.cumsum(_means(side), axis=-1) for side in (first, second)]
        found: Sums = np.abs(cumulative[0] - cumulative[1]).max(axis=-1)
        return found

    first, second = (_sums(_histogram(side.rows), side.blocks) for side in (before, after))
    return _as_measured(_permute(first, second, largest_gap, chance))


def stability(before: Grouped, after: Grouped, chance: Chance) -> Measured:
    """Compare categories by the population stability index; rows are names.

    Sum of (q - p) ln(q / p), with half a count more everywhere (Krichevsky & Trofimov 1981), so
    that a category which appears does not make it infinite.
    """
    names, codes = np.unique([*before.rows, *after.rows], return_inverse=True)
    hot = np.eye(len(names))[codes]

    def index(first: Sums, second: Sums) -> Sums:
        counts = [side[..., :-1] + 0.5 for side in (first, second)]
        p, q = (each / each.sum(axis=-1, keepdims=True) for each in counts)
        found: Sums = np.sum((q - p) * np.log(q / p), axis=-1)
        return found

    n = len(before.rows)
    sums = _sums(hot[:n], before.blocks), _sums(hot[n:], after.blocks)
    return _as_measured(_permute(*sums, index, chance))


def shares(before: Grouped, after: Grouped, chance: Chance) -> Measured:
    """Compare two shares by their difference; rows are booleans."""

    def difference(first: Sums, second: Sums) -> Sums:
        found: Sums = np.abs(_means(second) - _means(first))[..., 0]
        return found

    return _as_measured(_permute(_sums(*before), _sums(*after), difference, chance))


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


def words(text: str) -> list[str]:
    """Words of a text without regard to case; numbers and single letters are none."""
    return _WORD.findall(text.casefold())


def _unknown_shares(texts: Sequence[str], known: Collection[str]) -> Sums:
    """Share of unknown words per text; 0 for one without words."""
    split = [words(text) for text in texts]
    return np.array([sum(each not in known for each in row) / max(1, len(row)) for row in split])


def _rows(group: Grouped, which: NDArray[np.bool_]) -> list[Any]:
    return [group.rows[index] for index in np.flatnonzero(which)]


def _histogram(values: NDArray[np.float64]) -> Sums:
    bins = np.clip((values * _BINS).astype(np.int64), 0, _BINS - 1)
    return np.eye(_BINS)[bins]


def _sums(rows: NDArray[Any], blocks: NDArray[np.int64]) -> Sums:
    """Sum of each block, and as the last column its size."""
    columns = np.column_stack([rows, np.ones(len(rows))])
    order = np.argsort(blocks, kind="stable")
    starts = np.unique(blocks[order], return_index=True)[1]
    found: Sums = np.add.reduceat(columns[order].astype(np.float64), starts, axis=0)
    return found


def _means(sums: Sums) -> Sums:
    return sums[..., :-1] / sums[..., -1:]


def _permute(
    before: Sums, after: Sums, statistic: Callable[[Sums, Sums], Sums], chance: Chance
) -> Any:  # noqa: ANN401 - SciPy exports no name for the type of its result
    """Exchange blocks; the statistic is given sums, one row for each permutation."""
    pooled = np.concatenate([before, after])
    total, rows = pooled.sum(axis=0), np.arange(len(pooled))

    def of_blocks(first: NDArray[Any], _second: NDArray[Any], axis: int) -> Sums | np.float64:
        chosen = np.atleast_2d(np.moveaxis(first, axis, -1)).astype(np.int64)
        member = np.zeros((len(chosen), len(pooled)))
        np.put_along_axis(member, chosen, 1.0, axis=-1)
        sums = member @ pooled
        found = statistic(sums, total - sums)
        return found if len(found) > 1 else found[0]

    return stats.permutation_test(
        (rows[: len(before)], rows[len(before) :]),
        of_blocks,
        vectorized=True,
        n_resamples=chance.resamples,
        batch=_BATCH,
        alternative="greater",
        rng=chance.rng,
    )


def _as_measured(result: Any) -> Measured:  # noqa: ANN401 - as above
    return Measured(float(result.pvalue), float(result.statistic))
