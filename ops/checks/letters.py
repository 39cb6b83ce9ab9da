"""Whether dead letters are growing in number."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from ops.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.checks.ground import Ground

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_MANY = 0.05  # of an hour's tasks
_FEW = 10  # of which nothing can be said of a share
_SEEN = 10_000  # looked at in each stream


def dead_letters(ground: Ground) -> Iterator[Finding]:
    """Look whether dead letters are growing in number."""
    from streams import ranges

    now = ground.now_ms
    buried = ground.session.buried
    recent = [
        (int(entry_id.partition(b"-")[0]), fields.get(b"reason", b"?").decode(errors="replace"))
        for keys in buried
        for entry_id, fields in islice(
            ranges.backward(ground.client, keys.dead, _since(now, _DAY_MS)), _SEEN
        )
    ]
    total = sum(ground.client.xlen(keys.dead) for keys in buried)
    hour = sum(at >= now - _HOUR_MS for at, _ in recent)
    reasons = Counter(reason for _, reason in recent).most_common(3)
    detail = f"{total} in all, {len(recent)} within a day, {hour} within an hour"
    if not recent:
        yield Finding("dead-letters", "ok", detail)
        return
    many = hour > _FEW and hour > _MANY * (hour + _decided(ground, now, hour))
    yield Finding(
        "dead-letters",
        "fail" if many else "warn",
        f"{detail}: {', '.join(f'{reason} ({count})' for reason, count in reasons)}",
        "cortex dead list shows them, cortex dead replay sends them again once the cause is gone",
    )


def _decided(ground: Ground, now_ms: float, dead: int) -> int:
    """Count the decisions of the last hour, as far as it matters beside so many dead letters."""
    from streams import ranges

    enough = int(dead / _MANY)
    since = _since(now_ms, _HOUR_MS)
    return sum(
        1
        for keys in ground.session.parts
        for _ in islice(ranges.backward(ground.client, keys.decisions, since), enough)
    )


def _since(now_ms: float, past_ms: float) -> str:
    return str(max(0, int(now_ms - past_ms)))
