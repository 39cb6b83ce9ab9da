"""Who takes part in the experiment that is configured, and in which of its arms.

Every arm, control included, is a range of buckets of which coverage takes the first part, as
GrowthBook does (https://docs.growthbook.io/lib/build-your-own#experiment). Treatment comes first on
the line, so neither more of a percentage nor more coverage takes anybody out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from contracts.messages import Assignment, Group
from router.assignment import BUCKETS, bucket_ranges, buckets, in_namespaces
from router.attributes import texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw
    from numpy.typing import NDArray

    from contracts.messages import Arm, RolloutConfig

_METADATA: Final = "metadata."
_FORCE_GROUP: Final = "force_group"


class Place(Struct, frozen=True):
    """Where in an experiment a task can be.

    Attributes:
        arm: name of the arm where there are several; unset in control, and where there is one.
        assignment: why a task that is here counts in no statistics; unset if it does.
        model: what the arm has it decided by; None is the configuration's own.
    """

    group: Group
    arm: str | UnsetType = UNSET
    assignment: Assignment | UnsetType = UNSET
    model: str | None = None


_EXCLUDED: Final = Place("control", assignment="excluded")
_CONTROL: Final = Place("control")
_TREATMENT: Final = Place("treatment")


class Assigned(NamedTuple):
    """A batch of n tasks, assigned.

    Attributes:
        buckets: n numbers, 0-9999.
        places: n places.
        units: n times what was hashed; unset where that was the task's id.
    """

    buckets: list[int]
    places: list[Place]
    units: list[str | UnsetType]


class Experiment:
    """One version of the configuration, ready to assign tasks."""

    def __init__(self, config: RolloutConfig) -> None:
        """Divide the buckets.

        Args:
            config: as read from the wire: arms do not overlap.
        """
        self._seed = config.experiment
        self._namespace = config.namespace
        self._attribute = config.attribute.removeprefix(_METADATA)
        self._by_attribute = config.attribute.startswith(_METADATA)
        self._slots, self._places = _divide(config)
        self._forced = _forced(config.arms) if config.force else {}

    @property
    def treated_share(self) -> float:
        """Share of treatment among the buckets that take part; 0 where none does."""
        counts = np.bincount(self._slots, minlength=len(self._places)).tolist()
        pairs = [*zip(self._places, counts, strict=True)]
        taking_part = sum(count for place, count in pairs if place is not _EXCLUDED)
        treated = sum(count for place, count in pairs if place.group == "treatment")
        return treated / taking_part if taking_part else 0.0

    def assign(self, task_ids: Sequence[str], metadata: Sequence[Raw | None] = ()) -> Assigned:
        """Assign a batch; depends on nothing but each task and the configuration.

        Args:
            task_ids: n ids.
            metadata: n JSON objects, or None where a task has none; empty where no task has any.
        """
        units = task_ids
        hashed: list[str | UnsetType] = [UNSET] * len(task_ids)
        if self._by_attribute and metadata:
            values = texts(self._attribute, metadata)
            hashed = [UNSET if value is None else value for value in values]
            pairs = zip(task_ids, values, strict=True)
            units = [task_id if value is None else value for task_id, value in pairs]
        numbers = buckets(self._seed, units)
        slots = self._slots[numbers]
        if self._namespace is not None:
            slots[~in_namespaces(units, self._namespace.id, *self._namespace.range)] = 0
        places = [*map(self._places.__getitem__, slots.tolist())]
        if self._forced and metadata:
            wishes = texts(_FORCE_GROUP, metadata)
            places = [
                place if wish is None else self._forced.get(wish, place)
                for place, wish in zip(places, wishes, strict=True)
            ]
        return Assigned(numbers.tolist(), places, hashed)


def _divide(config: RolloutConfig) -> tuple[NDArray[np.int8], tuple[Place, ...]]:
    """Return the slot of each bucket, and what place that is; the first is outside of all."""
    line = np.arange(BUCKETS)
    if config.arms is None:
        # The quotient is the float nearest to a bucket's share: 0.29 takes buckets 0-2899, where
        # 0.29 * 10000 (2899.999...) would take one fewer or more depending on the rounding.
        points = line / BUCKETS
        ranges = bucket_ranges(2, config.coverage, (config.percentage, 1 - config.percentage))
        places = [_TREATMENT, _CONTROL]
    else:
        points = line.astype(np.float64)
        parts = _parts(config.arms)
        ranges = [(first, first + config.coverage * (beyond - first)) for first, beyond, _ in parts]
        places = [place for _, _, place in parts]
    slots = np.zeros(BUCKETS, np.int8)
    for slot, (start, end) in enumerate(ranges, 1):
        slots[(start <= points) & (points < end)] = slot
    return slots, (_EXCLUDED, *places)


def _parts(arms: Sequence[Arm]) -> list[tuple[int, int, Place]]:
    """Cut the line at the edges of arms; what is between them is control."""
    parts, end = [], 0
    for arm in sorted(arms, key=lambda arm: arm.buckets):
        first, beyond = arm.buckets
        parts += [(end, first, _CONTROL), (first, beyond, _place(arm))]
        end = beyond
    return [*parts, (end, BUCKETS, _CONTROL)]


def _place(arm: Arm) -> Place:
    return Place("treatment", arm.name, model=arm.model)


def _forced(arms: Sequence[Arm] | None) -> dict[str, Place]:
    """Return the groups that a task may ask for; treatment is the first arm of several."""
    treatments = [_TREATMENT] if arms is None else [*map(_place, arms)]
    groups = dict(zip(["treatment"], treatments, strict=False))
    groups |= {place.arm: place for place in treatments if isinstance(place.arm, str)}
    groups["control"] = _CONTROL
    return {name: replace(place, assignment="forced") for name, place in groups.items()}
