"""Whether what operators wrote can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import FatalError, PoisonError
from ops.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.checks.ground import Ground


def masters(ground: Ground) -> Iterator[Finding]:
    """Look at the masters' file."""
    try:
        names = ground.masters.names
    except FatalError as error:
        yield Finding("masters-file", "fail", str(error), "correct the file CORTEX_MASTERS names")
    else:
        yield Finding("masters-file", "ok", f"{len(names)} masters: {', '.join(names)}")


def rules(ground: Ground) -> Iterator[Finding]:
    """Look at the rules' file."""
    from router.rules import Rules

    try:
        version = Rules.parse(ground.settings.rules_text, ground.masters).version
    except FatalError as error:
        yield Finding("rules-file", "fail", str(error), "correct the file CORTEX_RULES names")
    else:
        yield Finding("rules-file", "ok", f"version {version}")


def live(ground: Ground) -> Iterator[Finding]:
    """Look at the live configuration."""
    try:
        config = ground.config
    except PoisonError as error:
        yield Finding(
            "live-configuration",
            "fail",
            f"{ground.keys.rollout} is malformed: {error.detail}; workers keep the last good one",
            "set the field anew with cortex rollout set, or HDEL it",
        )
    else:
        yield Finding(
            "live-configuration",
            "ok",
            f"version {config.version}: {config.percentage:.0%} in treatment, "
            f"model {config.model or 'champion'}",
        )
