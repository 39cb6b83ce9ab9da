"""A writer of the data set that is killed right before any of its changes of the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("work", ["append", "compact", "tidy"])
def test_a_writer_killed_anywhere_leaves_the_old_or_the_new(work: str, tmp_path: Path) -> None:
    # In a process of its own: forking this one would copy whatever threads it has.
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.dataset_kill", work, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    left = msgspec.json.decode(done.stdout, type=dict[str, int])
    assert left.keys() == {"old", "new"}
    assert left["old"] > 5
