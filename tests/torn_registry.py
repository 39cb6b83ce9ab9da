"""Kills whoever changes a registry before each change it makes to the disk; says what was wrong.

`python -m tests.torn_registry DIRECTORY`, a process of its own because `chaos.interrupt` forks.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from chaos.interrupt import Interrupted
from registry.folder import verify
from registry.registry import Registry
from tests import models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HOUSEHOLD = {".lock", "aliases.json", "aliases.draft", "history.jsonl", "versions"}


class Report(msgspec.Struct):
    """How often somebody was killed, and what was wrong after it."""

    kills: int
    violations: list[str]


def kill_everywhere(home: Path) -> Report:
    """Kill every kind of change at every point, each in a registry of its own."""
    for number in range(3):
        models.write(home / f"staged{number}", seed=number)
    report = Report(0, [])
    for name in ("add", "promote", "challenge", "rollback", "first"):
        for point in count(1):
            registry = Registry(home / f"{name}{point}")
            work = _prepared(registry, home, name)
            before, there = registry.history(), _versions(registry)
            with Interrupted(work, point) as child:
                call = child.call
            if not call:
                break
            report.kills += 1
            found = list(_wrong(registry, before, there, home))
            report.violations += [f"{name} killed before {call} ({point}): {w}" for w in found]
    return report


def _prepared(registry: Registry, home: Path, name: str) -> Callable[[], object]:
    """Bring a registry where it is to be changed, and return the change."""
    one, two = (registry.add(home / f"staged{number}") for number in range(2))
    if name == "first":
        return partial(registry.promote, one, who="killed")
    registry.promote(one, who="test")
    registry.promote(two, who="test")
    registry.challenge(one, "test")
    if name == "challenge":
        registry.retire("test")
    return {
        "add": partial(registry.add, home / "staged2"),
        "promote": partial(registry.promote, who="killed"),
        "challenge": partial(registry.challenge, one, "killed"),
        "rollback": partial(registry.rollback, "killed"),
    }[name]


def _wrong(registry: Registry, before: list[object], there: set[str], home: Path) -> Iterator[str]:
    history = registry.history()
    now = history[-1].aliases if history else {}
    if history[: len(before)] != before or len(history) > len(before) + 1:
        yield "what was done before is done otherwise"
    if registry.aliases() != now:
        yield "aliases and history differ"
    for version in (found := _versions(registry)):
        verify(registry.path(version))
    if not there <= found:
        yield "a version is lost"
    third = registry.add(home / "staged2")
    registry.promote(third, who="next")
    if registry.aliases()["champion"] != third:
        yield "the next change does not take effect"
    if [each.number for each in registry.history()] != [*range(1, len(history) + 2)]:
        yield "the history has gaps"
    if left := {path.name for path in registry.root.iterdir()} - _HOUSEHOLD:
        yield f"left behind: {left}"
    folders = {path.name for path in (registry.root / "versions").iterdir()}
    if folders != {".lock", *_versions(registry)}:
        yield f"left behind: {folders}"


def _versions(registry: Registry) -> set[str]:
    return {each.version for each in registry.versions() if each.problem is None}


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(kill_everywhere(Path(sys.argv[1]))).decode())
