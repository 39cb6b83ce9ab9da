"""Counts of each arm, and of a model in shadow."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rollout.observation import Arm, Bin, Levels, Shadow
from rollout.sketch import Sketch, bin_of

if TYPE_CHECKING:
    from rollout.seen import Heard, Seen

BINS: Final = 10  # of confidence; as few as usual (Guo et al. 2017 take 15), so that they fill


class LevelsTally:
    """Counts what decisions say of themselves."""

    def __init__(self) -> None:
        self.decisions = self.sought = self.found = 0
        self.fallbacks: Counter[str] = Counter()
        self.latency: Sketch = Counter()

    def decided(self, seen: Seen, latency_bin: int) -> None:
        """Count a decision."""
        self.decisions += 1
        self.latency[latency_bin] += 1
        if seen.context_status != "disabled":
            self.sought += 1
            self.found += seen.context_status == "ok"
        if seen.fallback_reason:
            self.fallbacks[seen.fallback_reason] += 1

    def add(self, other: LevelsTally) -> None:
        """Count what another one did."""
        self.decisions += other.decisions
        self.sought += other.sought
        self.found += other.found
        self.fallbacks.update(other.fallbacks)
        self.latency.update(other.latency)

    def freeze(self) -> Levels:
        """Return the counts."""
        return Levels(
            decisions=self.decisions,
            fallbacks=dict(self.fallbacks),
            sought=self.sought,
            found=self.found,
            latency=dict(self.latency),
        )


class ArmTally:
    """Counts one arm."""

    def __init__(self, window_ms: int) -> None:
        """Begin with nothing; `window_ms` is how long ago recent is, or up to twice as long."""
        self.levels = LevelsTally()
        self._window_ms = window_ms
        self._windows: dict[int, LevelsTally] = {}  # by their number, only the newest
        self.outcomes = self.successes = self.heard_ms = self.known = self.right = 0
        self.squares = 0.0
        self.bins = [[0, 0.0, 0, 0] for _ in range(BINS)]

    def decided(self, seen: Seen, at_ms: int) -> None:
        """Count a decision made at a moment, by the server's clock."""
        latency_bin = bin_of(seen.latency_ms)
        self.levels.decided(seen, latency_bin)
        window = at_ms // self._window_ms
        if window not in self._windows:
            newest = sorted({window, *self._windows})[-2:]
            self._windows = {n: self._windows.get(n) or LevelsTally() for n in newest}
        if window in self._windows:
            self._windows[window].decided(seen, latency_bin)

    def reported(self, confidence: float, at_ms: int, *, success: bool, right: bool | None) -> None:
        """Count an outcome; whether the right master had been chosen may be unknown."""
        self.outcomes += 1
        self.successes += success
        self.heard_ms = max(self.heard_ms, at_ms)
        each = self.bins[min(int(confidence * BINS), BINS - 1)]
        each[0] += 1
        each[1] += confidence
        if right is None:
            each[3] += 1
            return
        each[2] += right
        self.known += 1
        self.right += right
        self.squares += (confidence - right) ** 2

    def freeze(self, at_ms: int) -> Arm:
        """Return the counts at a moment."""
        recent, before = LevelsTally(), at_ms // self._window_ms - 1
        for window, levels in self._windows.items():
            if window >= before:
                recent.add(levels)
        return Arm(
            levels=self.levels.freeze(),
            recent=recent.freeze(),
            outcomes=self.outcomes,
            successes=self.successes,
            heard_ms=self.heard_ms,
            known=self.known,
            right=self.right,
            squares=self.squares,
            calibration=tuple(
                Bin(int(n), confidence, int(right), int(unknown))
                for n, confidence, right, unknown in self.bins
            ),
        )


class ShadowTally:
    """Counts one model's opinions."""

    def __init__(self) -> None:
        self.champion = False
        self.decisions = self.agreed = 0
        self.outcomes = self.right = self.rules_right = self.differing = self.open = 0

    def decided(self, opinion: str, seen: Seen, model: str) -> None:
        """Count a decision of the rules beside what the model would have chosen."""
        self.champion = model == seen.model_version
        self.decisions += 1
        self.agreed += opinion == seen.selected_master

    def reported(self, opinion: str, master: str, heard: Heard) -> None:
        """Count an outcome of what the rules had chosen."""
        right = heard.right_master
        self.outcomes += 1
        if right is None:
            self.open += opinion != master
            return
        self.right += opinion == right
        self.rules_right += master == right
        self.differing += (opinion == right) != (master == right)

    def freeze(self, model: str) -> Shadow:
        """Return the counts under the model's version."""
        return Shadow(
            model=model,
            champion=self.champion,
            decisions=self.decisions,
            agreed=self.agreed,
            outcomes=self.outcomes,
            right=self.right,
            rules_right=self.rules_right,
            differing=self.differing,
            open=self.open,
        )
