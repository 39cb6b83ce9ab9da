"""What decisions and outcomes of a while come to: the key metrics, whole, by arm and by master.

Pure, and exact: sums are rounded once, so that whoever counts the same entries gets the same
numbers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from msgspec import Struct

from contracts.messages import Assignment, Group
from rollout.statistics.sample_ratio import SampleRatioMonitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rollout.seen import Heard

QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
BINS: Final = 60  # as many as a line of a terminal holds; of an hour, minutes
MISMATCH: Final = 0.001
"""Level of the sample-ratio alarm: windows are looked at all day long, and an alarm must be rare
where nothing is wrong (Fabijan et al. 2019 take 0.0005)."""


class Seen(Struct, frozen=True, gc=False):
    """The fields of a decision that are counted; the others are not even parsed."""

    task_id: str
    selected_master: str
    method: str
    confidence: float
    ab_test_group: Group
    context_status: str
    latency_ms: float
    config_version: int
    assignment: Assignment | None = None
    unit: str | None = None
    fallback_reason: str | None = None


class Part(Struct, frozen=True, kw_only=True):
    """Some decisions: all of them, one arm's, one master's.

    Attributes:
        share: of all decisions, 0-1; of the arms, that is the A/B balance.
        ml_share: decided by the neural router, of these, 0-1.
        known: decisions whose outcomes tell whether the right master was chosen.
        accuracy: right of those known, 0-1.
        context_hit_share: decisions with context, of those for which context was sought, 0-1.
        latency_ms: quantiles `p50`, `p95`, `p99` by nearest rank.
    """

    routes: int
    ml_routes: int
    share: float
    ml_share: float | None
    mean_confidence: float | None
    known: int
    right: int
    accuracy: float | None
    context_hit_share: float | None
    latency_ms: dict[str, float]


class Bin(Struct, frozen=True, kw_only=True):
    """Decisions of a short while.

    Attributes:
        at_ms: when it begins, in milliseconds since 1970.
    """

    at_ms: int
    routes: int
    ml_routes: int
    mean_confidence: float | None
    accuracy: float | None
    context_hit_share: float | None
    latency_p95_ms: float | None


class Balance(Struct, frozen=True, kw_only=True):
    """Whether as many units were in treatment as should have been.

    Attributes:
        verdict: `unknown` where no decision could be judged.
        p_value: however often one looked, see `rollout.statistics.sample_ratio`.
        units: that were assigned by the hash under a configuration that stands in the log; a unit
            of many tasks counts once per share.
        treated: of these.
        expected: share that should be, 0-1.
        not_counted: decisions that were forced or excluded, or whose configuration is in no log.
    """

    verdict: Literal["ok", "mismatch", "unknown"]
    p_value: float | None
    units: int
    treated: int
    treated_share: float | None
    expected: float | None
    not_counted: int


class Summary(Struct, frozen=True, kw_only=True):
    """A window of time.

    Attributes:
        since_ms: first moment of it, in milliseconds since 1970, by the server's clock.
        until_ms: first moment after it.
        complete: False if the window holds more decisions or outcomes than were read; the newest
            were.
        ml_percentage: 0-100.
        fallbacks: why treatment was decided by rules, and how often.
        series: the window in equal bins.
    """

    window_s: float
    since_ms: int
    until_ms: int
    complete: bool
    total_routes: int
    ml_routes: int
    rule_based_routes: int
    ml_percentage: float | None
    mean_confidence: float | None
    accuracy: float | None
    known: int
    right: int
    context_hit_share: float | None
    fallbacks: dict[str, int]
    latency_ms: dict[str, float]
    balance: Balance
    per_master: dict[str, Part]
    per_arm: dict[str, Part]
    series: list[Bin]


class Window(NamedTuple):
    """What was read of a while.

    Attributes:
        decisions: each with its moment.
        heard: what masters reported, by task ids, the oldest first.
        shares: of treatment, by version of the configuration, as far as the log tells.
    """

    since_ms: int
    until_ms: int
    complete: bool
    decisions: Sequence[tuple[int, Seen]]
    heard: Mapping[str, Sequence[Heard]]
    shares: Mapping[int, float]


def summarise(window: Window) -> Summary:
    """Add a window up."""
    arms: dict[str, list[Seen]] = {"control": [], "treatment": []}
    masters: defaultdict[str, list[Seen]] = defaultdict(list)
    bins: list[list[Seen]] = [[] for _ in range(BINS)]
    span = window.until_ms - window.since_ms
    for at_ms, seen in window.decisions:
        arms[seen.ab_test_group].append(seen)
        masters[seen.selected_master].append(seen)
        bins[(at_ms - window.since_ms) * BINS // span].append(seen)
    decisions = [seen for _at, seen in window.decisions]
    whole = _part(decisions, window.heard, len(decisions))
    return Summary(
        window_s=span / 1_000,
        since_ms=window.since_ms,
        until_ms=window.until_ms,
        complete=window.complete,
        total_routes=whole.routes,
        ml_routes=whole.ml_routes,
        rule_based_routes=whole.routes - whole.ml_routes,
        ml_percentage=None if whole.ml_share is None else 100 * whole.ml_share,
        mean_confidence=whole.mean_confidence,
        accuracy=whole.accuracy,
        known=whole.known,
        right=whole.right,
        context_hit_share=whole.context_hit_share,
        fallbacks=Counter(seen.fallback_reason for seen in decisions if seen.fallback_reason),
        latency_ms=whole.latency_ms,
        balance=_balance(decisions, window.shares),
        per_master={
            name: _part(masters[name], window.heard, whole.routes) for name in sorted(masters)
        },
        per_arm={name: _part(arm, window.heard, whole.routes) for name, arm in arms.items()},
        series=[
            _bin(window.since_ms + number * span // BINS, each, window.heard)
            for number, each in enumerate(bins)
        ],
    )


def _part(decisions: Sequence[Seen], heard: Mapping[str, Sequence[Heard]], of: int) -> Part:
    n = len(decisions)
    neural = sum(seen.method == "neural" for seen in decisions)
    verdicts = [_right(seen, heard) for seen in decisions]
    known, right = (
        sum(each is not None for each in verdicts),
        sum(each is True for each in verdicts),
    )
    contexts = Counter(seen.context_status for seen in decisions)
    return Part(
        routes=n,
        ml_routes=neural,
        share=n / of if of else 0.0,
        ml_share=_ratio(neural, n),
        mean_confidence=_ratio(math.fsum(seen.confidence for seen in decisions), n),
        known=known,
        right=right,
        accuracy=_ratio(right, known),
        context_hit_share=_ratio(contexts["ok"], n - contexts["disabled"]),
        latency_ms=_quantiles([seen.latency_ms for seen in decisions]),
    )


def _bin(at_ms: int, decisions: Sequence[Seen], heard: Mapping[str, Sequence[Heard]]) -> Bin:
    part = _part(decisions, heard, 0)
    return Bin(
        at_ms=at_ms,
        routes=part.routes,
        ml_routes=part.ml_routes,
        mean_confidence=part.mean_confidence,
        accuracy=part.accuracy,
        context_hit_share=part.context_hit_share,
        latency_p95_ms=part.latency_ms.get("p95"),
    )


def _right(seen: Seen, heard: Mapping[str, Sequence[Heard]]) -> bool | None:
    """What the last outcome that tells says of a decision."""
    verdicts = (
        each.speaks_for(seen.selected_master) for each in reversed(heard.get(seen.task_id, ()))
    )
    return next((verdict for verdict in verdicts if verdict is not None), None)


def _balance(decisions: Iterable[Seen], shares: Mapping[int, float]) -> Balance:
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    units: set[tuple[float, str]] = set()
    left_out = 0
    for seen in decisions:
        share = shares.get(seen.config_version)
        if seen.assignment is not None or share is None:
            left_out += 1
            continue
        if seen.unit is not None:
            if (share, seen.unit) in units:
                continue
            units.add((share, seen.unit))
        counts[seen.config_version][0] += seen.ab_test_group == "treatment"
        counts[seen.config_version][1] += 1
    monitor = SampleRatioMonitor()
    for version in sorted(counts):
        treated, n = counts[version]
        monitor = monitor.update(treated, shares[version], n)
    total, treated = (sum(each[at] for each in counts.values()) for at in (1, 0))
    verdict: Literal["ok", "mismatch"] = "mismatch" if monitor.p_value < MISMATCH else "ok"
    return Balance(
        verdict=verdict if total else "unknown",
        p_value=monitor.p_value if total else None,
        units=total,
        treated=treated,
        treated_share=_ratio(treated, total),
        expected=_ratio(
            math.fsum(shares[version] * n for version, (_, n) in sorted(counts.items())), total
        ),
        not_counted=left_out,
    )


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank quantiles: the smallest value with at least that share at or below it."""
    if not values:
        return {}
    ordered = sorted(values)
    return {name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in QUANTILES.items()}
