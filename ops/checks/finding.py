"""What a check says."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Verdict = Literal["ok", "warn", "fail", "unknown"]
GRAVITY: tuple[Verdict, ...] = ("ok", "unknown", "warn", "fail")


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        verdict: `warn`: it works, but worse than it could, or not for long; `fail`: it does not;
            `unknown`: it could not be looked at.
        detail: what was seen.
        remedy: what to do about it; None where there is nothing to do.
        facts: what was measured, for programs.
    """

    check: str
    verdict: Verdict
    detail: str
    remedy: str | None = None
    facts: dict[str, object] | None = None
