"""Whether the last day's tasks, or what became of them, differ from those of the days before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import CortexError
from ops.checks.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from learning.drift import Aspect, Report
    from ops.checks.ground import Ground
    from ops.checks.windows import Embed

_HOURS, _DAYS_BEFORE = 24, 6  # together the week that `decisions` are kept by default
_HOUR_MS = 3_600_000
_AT_ONCE = 64  # texts per call of the encoder


def drift(ground: Ground) -> Iterator[Finding]:
    """Compare the last day with the six days before it."""
    import numpy as np

    from learning.drift import Settings, compare
    from ops.checks.windows import changed_by_us, sample, window

    client, parts = ground.client, ground.session.parts
    begun = ground.now_ms - _HOURS * _HOUR_MS
    hours_before = _DAYS_BEFORE * 24
    settings = Settings()
    rng = np.random.default_rng(settings.seed)
    before = sample(client, parts, begun - hours_before * _HOUR_MS, hours_before, rng)
    after = sample(client, parts, begun, _HOURS, rng)
    if min(len(before.decisions), len(after.decisions)) < settings.least:
        yield Finding(
            "drift",
            "ok",
            f"too little to compare: {len(after.decisions)} decisions within a day, "
            f"{len(before.decisions)} in the {_DAYS_BEFORE} days before",
        )
        return
    embed = _embedder(ground)
    report = compare(window(before, embed), window(after, embed), settings)
    ours = changed_by_us(before.decisions, after.decisions)
    yield from _say(report, ours, complete=before.complete and after.complete)


def _say(report: Report, ours: list[str], *, complete: bool) -> Iterator[Finding]:
    size = f"{report.current:,} decisions within a day, {report.reference:,} before"
    if not complete:
        size += " (a sample)"
    untested = f"; too little of {', '.join(report.untested)}" if report.untested else ""
    if not report.drifted:
        yield Finding("drift", "ok", f"none: {size}{untested}", facts=_facts(report, ours))
        return
    remedy = "cortex evaluate shows what it costs; cortex learn trains on what is new"
    if ours:
        remedy = (
            f"the {' and the '.join(ours)} changed meanwhile: see whether that was it. " + remedy
        )
    said = "; ".join(_describe(aspect, report) for aspect in report.drifted)
    yield Finding("drift", "warn", f"{said}. {size}{untested}", remedy, _facts(report, ours))


def _describe(aspect: Aspect, report: Report) -> str:
    said = f"{aspect.name}: {aspect.measure} {aspect.effect:.2f} (p = {aspect.p_value:.2g})"
    if aspect.name == "new-words" and report.new_words:
        said += f": {', '.join(report.new_words)}"
    return said


def _facts(report: Report, ours: list[str]) -> dict[str, object]:
    import msgspec

    facts: dict[str, object] = msgspec.to_builtins(report)
    return facts | {"changed_by_operators": ours}


def _embedder(ground: Ground) -> Embed | None:
    """Return the encoder of these settings, if it is here and exported: exporting takes long."""
    import numpy as np

    from vectors.encoder import open_encoder
    from vectors.exported import default_cache_dir, folder_name
    from vectors.model_source import resolve

    try:
        exported = default_cache_dir() / folder_name(resolve(ground.settings.encoder).name)
        encode = open_encoder(ground.settings.encoder).encode if exported.exists() else None
    except (CortexError, ImportError):  # another check says so
        return None
    if encode is None:
        return None
    return lambda texts: np.concatenate(
        [encode(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
    )
