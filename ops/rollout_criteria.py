"""The original's seven criteria of a successful deployment, from what was measured; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from msgspec import Struct

from ops.rehearsal import WITHIN_S
from rollout.gates import BROKEN
from rollout.statistics.proportions import compare

if TYPE_CHECKING:
    from ops.rehearsal import Rehearsal
    from ops.summary import Summary

Verdict = Literal["pass", "fail", "not measurable"]

CONTEXT: Final = 0.80  # the original's, as are the following
LATENCY_MS: Final = 100.0
_FEWEST: Final = 30  # known decisions per arm; of fewer, shares say little


class Criterion(Struct, frozen=True, kw_only=True):
    """One criterion.

    Attributes:
        value: what was measured, if anything could be.
        target: what it is to be compared with.
        sentence: both in words, or why nothing could be measured.
    """

    name: str
    verdict: Verdict
    value: float | None
    target: float | None
    sentence: str


class Archived(NamedTuple):
    """How far the metrics file is.

    Attributes:
        lines: that the server knows of; 0 if there never was an archiver.
        behind_s: age of the oldest decision that has no line; 0 where all have.
        allowed_s: how long a decision may wait for its line.
        fault: what is wrong with the file, if it is on this machine.
    """

    lines: int
    behind_s: float
    allowed_s: float
    fault: str | None = None


def split(summary: Summary) -> Criterion:
    """Whether the A/B test runs at its percentage."""
    balance = summary.balance
    if balance.p_value is None or balance.expected is None or balance.treated_share is None:
        reason = "no decision was assigned by a configuration that stands in control:log"
        return _unmeasured("ab-split", None, f"{reason}; cortex rollout set writes one")
    return Criterion(
        name="ab-split",
        verdict="pass" if balance.verdict == "ok" else "fail",
        value=balance.treated_share,
        target=balance.expected,
        sentence=f"{balance.treated_share:.2%} of {balance.units:,} units in treatment, "
        f"{balance.expected:.2%} expected (p = {balance.p_value:.3g})",
    )


def accuracy(summary: Summary) -> Criterion:
    """Whether treatment chooses the right master at least as often as the rules."""
    control, treatment = summary.per_arm["control"], summary.per_arm["treatment"]
    found = compare((control.right, control.known), (treatment.right, treatment.known))
    baseline = None if math.isnan(found.control.share) else found.control.share
    if min(control.known, treatment.known) < _FEWEST:
        few = f"{treatment.known} in treatment and {control.known} in control"
        reason = f"the right master is known of {few}; {_FEWEST} of each are needed"
        return _unmeasured("accuracy", baseline, reason)
    sentence = (
        f"{found.treatment.share:.2%} of {treatment.known:,} in treatment, "
        f"{found.control.share:.2%} of {control.known:,} in control; difference between "
        f"{found.difference_low:+.2%} and {found.difference_high:+.2%} (95 %)"
    )
    verdict: Verdict = "pass" if found.difference >= 0 else "not measurable"
    if found.difference_high < 0:
        verdict = "fail"
    elif verdict != "pass":
        sentence += ": lower, but too few to tell"
    return Criterion(
        name="accuracy",
        verdict=verdict,
        value=found.treatment.share,
        target=baseline,
        sentence=sentence,
    )


def context(summary: Summary) -> Criterion:
    """Whether more than four tasks in five got context."""
    share = summary.context_hit_share
    if share is None:
        return _unmeasured("context", CONTEXT, "context was sought for no decision")
    return Criterion(
        name="context",
        verdict="pass" if share > CONTEXT else "fail",
        value=share,
        target=CONTEXT,
        sentence=f"{share:.2%} of decisions have context; more than {CONTEXT:.0%} should",
    )


def latency(summary: Summary) -> Criterion:
    """Whether decisions are quick; all but the slowest in a hundred."""
    p99 = summary.latency_ms.get("p99")
    if p99 is None:
        return _unmeasured("latency", LATENCY_MS, "there are no decisions")
    return Criterion(
        name="latency",
        verdict="pass" if p99 < LATENCY_MS else "fail",
        value=p99,
        target=LATENCY_MS,
        sentence=f"99 % of decisions within {p99:.2f} ms; less than {LATENCY_MS:.0f} ms is wanted",
    )


def errors(summary: Summary, undecided: int) -> Criterion:
    """Whether routing failed at all: a model or encoder that broke, or a task nobody decided."""
    broken = sum(count for reason, count in summary.fallbacks.items() if reason in BROKEN)
    if not (summary.total_routes or undecided):
        return _unmeasured("errors", 0, "there are no decisions")
    return Criterion(
        name="errors",
        verdict="pass" if broken + undecided == 0 else "fail",
        value=broken + undecided,
        target=0,
        sentence=f"{broken} decisions fell back because a model or the encoder failed, "
        f"{undecided} tasks could not be decided",
    )


def metrics(archived: Archived) -> Criterion:
    """Whether the metrics file is written."""
    if not archived.lines:
        sentence, good = "no archiver ever wrote a line; start cortex archiver", False
    else:
        behind = f"the oldest decision without a line is {archived.behind_s:.1f} s old"
        sentence = f"{archived.lines:,} lines; {behind}"
        good = archived.behind_s <= archived.allowed_s and archived.fault is None
    if archived.fault:
        sentence += f"; {archived.fault}"
    return Criterion(
        name="metrics",
        verdict="pass" if good else "fail",
        value=archived.behind_s if archived.lines else None,
        target=archived.allowed_s,
        sentence=sentence,
    )


def rollback(rehearsal: Rehearsal | str) -> Criterion:
    """Whether a rollback works; a text says why none was rehearsed."""
    if isinstance(rehearsal, str):
        return _unmeasured("rollback", WITHIN_S, rehearsal)
    return Criterion(
        name="rollback",
        verdict="pass" if rehearsal.passed else "fail",
        value=rehearsal.seconds,
        target=WITHIN_S,
        sentence=f"{rehearsal.seconds:.3f} s from the command to the last of {rehearsal.before} "
        f"decisions in treatment; {rehearsal.after} in control after it; "
        f"{rehearsal.decided} of {rehearsal.submitted} tasks decided",
    )


def _unmeasured(name: str, target: float | None, sentence: str) -> Criterion:
    return Criterion(
        name=name, verdict="not measurable", value=None, target=target, sentence=sentence
    )
