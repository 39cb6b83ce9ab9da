"""What rounds came to: one line each of `rounds/rounds.jsonl` beside the models, for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from learning.gate import Comparison, Verdict
from learning.risk import Change

if TYPE_CHECKING:
    from registry.registry import Registry

FOLDER = "rounds"  # in that of the registry; whoever runs a round locks it
_ROUNDS = "rounds.jsonl"


class Round(Struct, frozen=True, kw_only=True):
    """What one round came to.

    Attributes:
        at: when it began; RFC 3339, UTC.
        verdict: `challenger`: a model was registered and is seen in shadow; `refused`: not.
        reason: why, for people.
        champion: version it was compared with; None if rules alone serve.
        version: of the new model; None if there is none.
        fingerprint: of all that was known.
        known_until_ms: when the latest outcome was reported, in milliseconds since 1970.
        outcomes: how many there are.
        new: how many of them the champion was not trained on.
        examples: how many there were to train on, after weighing.
        comparison: candidate, champion and rules on what was held back.
        thresholds: certainty per master below which the new model abstains.
        threshold_changes: which of them the latest outcomes moved, and why.
        previous_thresholds: the champion's; a rollback to it brings them back.
        seconds: how long the round took.
    """

    at: str
    verdict: Verdict
    reason: str
    champion: str | None
    version: str | None = None
    fingerprint: str
    known_until_ms: int
    outcomes: int
    new: int
    examples: int = 0
    comparison: Comparison | None = None
    thresholds: dict[str, float] = {}
    threshold_changes: list[Change] = []
    previous_thresholds: dict[str, float] = {}
    seconds: float = 0.0


def read_rounds(registry: Registry) -> list[Round]:
    """Read the rounds of a registry, oldest first; a last line that was cut short is no round."""
    try:
        lines = (registry.root / FOLDER / _ROUNDS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Round) for line in lines[:-1]]


def write_down(registry: Registry, done: Round) -> None:
    """Add a round; one at a time, in the folder's lock.

    Raises:
        OSError: the disk failed.
    """
    with (registry.root / FOLDER / _ROUNDS).open("ab+") as log:
        log.seek(0)
        log.truncate(log.read().rfind(b"\n") + 1)  # what a killed round left of its line
        log.write(msgspec.json.encode(done) + b"\n")
