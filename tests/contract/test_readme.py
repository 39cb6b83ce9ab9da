from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from typer.main import get_command

import indexer.settings
import learning.settings
import rollout.archive_settings
import rollout.settings
import worker.settings
from ops.cli import app

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


KINDS = [
    each.Settings
    for each in (
        worker.settings,
        indexer.settings,
        learning.settings,
        rollout.settings,
        rollout.archive_settings,
    )
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_named(kind: type[msgspec.Struct]) -> None:
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    assert [name for name in names if f"`{name}`" not in README] == []


def test_every_command_is_named() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined] # a group's
    assert [name for name in commands if not re.search(rf"(cortex|make) {name}\b", README)] == []
