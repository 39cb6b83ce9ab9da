"""Partitions: tags that spread over a cluster's slots, and where a task belongs."""

from __future__ import annotations

from collections import Counter

import pytest
from redis.crc import key_slot

from streams.partitions import layout, partition_of, slot, tags


@pytest.mark.parametrize("tag", ["0", "7", "user1000", "é", "a b"])
def test_slots_are_those_of_a_cluster(tag: str) -> None:
    assert slot(tag) == key_slot(f"tasks:{{{tag}}}".encode())


@pytest.mark.parametrize("count", [1, 2, 3, 8, 12, 64, 1024])
def test_partitions_spread_evenly_over_slots_and_tasks(count: int) -> None:
    assert len(set(tags(count))) == count
    assert [slot(tag) * count // 16_384 for tag in tags(count)] == list(range(count))
    tasks = Counter(partition_of(f"t-{n}", count) for n in range(100 * count))
    assert set(tasks) == set(range(count))
    assert max(tasks.values()) < 160


def test_eight_partitions_on_three_masters_are_three_three_and_two() -> None:
    masters = Counter(slot(tag) * 3 // 16_384 for tag in tags(8))
    assert sorted(masters.values()) == [2, 3, 3]


def test_everything_a_task_touches_shares_its_slot() -> None:
    for keys in layout("acme:", 8):
        names = (*keys.task_streams, keys.master("m"), keys.decisions, keys.dead, keys.done("t"))
        assert {key_slot(name.encode()) for name in names} == {slot(keys.partition or "")}


def test_without_partitions_names_carry_no_tag() -> None:
    assert [keys.tasks for keys in layout("acme:", 0)] == ["acme:tasks"]
