"""What of a decision and of an outcome is counted; the rest is not even parsed."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from contracts.messages import Assignment, Group


class SeenShadow(Struct, frozen=True, gc=False):
    """The fields of a decision's `shadow` that are counted."""

    selected_master: str
    model_version: str | None = None


class Seen(Struct, frozen=True, gc=False):
    """The fields of a decision that are counted."""

    task_id: str
    selected_master: str
    confidence: float
    ab_test_group: Group
    experiment: str
    context_status: str
    latency_ms: float
    config_version: int
    model_version: str | None = None
    assignment: Assignment | None = None
    unit: str | None = None
    fallback_reason: str | None = None
    shadow: SeenShadow | None = None


class Heard(NamedTuple):
    """The fields of an outcome that are counted."""

    master: str
    outcome: str
    correct_master: str | None

    @property
    def right_master(self) -> str | None:
        """The right master, where this says who that is."""
        if self.outcome == "success":
            return self.master
        return self.correct_master if self.outcome == "rerouted" else None

    def speaks_for(self, master: str) -> bool | None:
        """Whether a master was the right one; None where this does not tell."""
        right = self.right_master
        if right is not None:
            return master == right
        return False if self.outcome == "rerouted" and master == self.master else None
