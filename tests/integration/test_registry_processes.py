"""Registries in the hands of real processes: killed at any moment, or several at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from registry.registry import Registry
from tests import models
from tests.torn_registry import Report

ROOT = Path(__file__).parents[2]
_CHANGES = 25
_CHANGER = f"""
import sys
from pathlib import Path
from registry.registry import Registry
root, who, *versions = sys.argv[1:]
for turn in range({_CHANGES}):
    Registry(Path(root)).promote(versions[turn % len(versions)], who=who, why=str(turn))
"""


def python(*args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *args],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_whoever_is_killed_leaves_the_state_before_or_after(tmp_path: Path) -> None:
    with python("-m", "tests.torn_registry", str(tmp_path)) as process:
        said, complaints = process.communicate(timeout=110)
    assert process.returncode == 0, complaints.decode()
    report = msgspec.json.decode(said, type=Report)
    assert report.violations == []
    assert report.kills > 50


def test_several_at_once_take_turns_and_readers_see_whole_changes(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    for seed in range(3):
        models.write(tmp_path / str(seed), seed=seed)
    versions = [registry.add(tmp_path / str(seed)) for seed in range(3)]
    root = str(registry.root)
    changers = [
        python("-c", _CHANGER, root, "ann", versions[0], versions[1]),
        python("-c", _CHANGER, root, "bob", versions[2], versions[0]),
    ]
    seen: list[dict[str, str]] = []
    token = None
    with ThreadPoolExecutor(len(changers)) as pool:
        ends = [pool.submit(changer.communicate) for changer in changers]
        while not all(end.done() for end in ends):
            if found := registry.aliases_if_changed(token):
                token, aliases = found
                seen.append(aliases)
    assert [changer.returncode for changer in changers] == [0, 0], [end.result() for end in ends]
    history = registry.history()
    assert [change.number for change in history] == [*range(1, len(history) + 1)]
    assert {change.who for change in history} == {"ann", "bob"}
    previous = [None, *(change.champion for change in history)]
    assert [change.previous for change in history] == previous[:-1]
    happened = [{}, *(change.aliases for change in history)]
    assert all(aliases in happened for aliases in seen)
    last = registry.aliases_if_changed(token)
    assert (last[1] if last else seen[-1]) == registry.aliases() == happened[-1]
