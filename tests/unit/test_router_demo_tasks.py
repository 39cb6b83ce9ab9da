from __future__ import annotations

from pathlib import Path

import msgspec

import ops
import router
from router.masters import Masters
from router.rules import Rules

FOLDER = Path(router.__file__).parent
DEMO = Path(ops.__file__).parent / "data" / "demo_tasks.jsonl"


class DemoTask(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    metadata: dict[str, object] | None = None


def test_the_demo_has_enough_different_tasks_for_every_master() -> None:
    lines = DEMO.read_text("utf-8").splitlines()
    tasks = [msgspec.json.decode(line, type=DemoTask) for line in lines]
    descriptions = {task.description for task in tasks}
    assert len(descriptions) == len(tasks) >= 520
    assert all(1 <= len(description) <= 8192 for description in descriptions)

    masters = Masters.parse((FOLDER / "masters.toml").read_text("utf-8"))
    rules = Rules.parse((FOLDER / "rules.toml").read_text("utf-8"), masters)
    selected = [rules.score(description).selected for description in descriptions]
    assert min(selected.count(name) for name in masters.names) >= 50
