"""`cortex export`, as a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec
import pytest

from learning.dataset import Dataset
from learning.examples import Example, read_examples
from learning.settings import dataset_folder
from tests.integration.cortex_program import cortex
from tests.learning_records import MINUTE, T0, decided, outcome

if TYPE_CHECKING:
    from pathlib import Path

DAY = 24 * 60 * MINUTE
DEV, SEC = "development-master", "security-master"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    dataset = Dataset(dataset_folder(tmp_path))
    dataset.append(
        [decided("t-1", repo="web"), decided("t-2", T0 + 9 * DAY), decided("t-3", T0 + 1)],
        [outcome("t-1", score=0.5), outcome("t-3", master="gone")],
    )
    dataset.append([], [outcome("t-2", "rerouted", at_ms=T0 + 10 * DAY, correct_master=SEC)])
    return tmp_path


OLD = Example("do t-1", DEV, 0.5, "web")
NEW = Example("do t-2", SEC)


def export(home: Path, *args: str) -> tuple[str, str]:
    done = cortex("", "export", *args, CORTEX_DATA_DIR=str(home))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def lines(text: str) -> list[Example]:
    return [msgspec.json.decode(line, type=Example) for line in text.splitlines()]


def test_lines_go_to_stdout_and_the_summary_beside(home: Path) -> None:
    out, err = export(home)
    assert lines(out) == [OLD, NEW]
    assert err == (
        "2 examples of version 2: development-master 1, security-master 1; "
        "left out: 1 outcomes of masters that are gone\n"
    )


def test_a_file_that_training_reads(home: Path) -> None:
    path = home / "lines.jsonl"
    out, err = export(home, "--output", str(path), "--json")
    assert read_examples(path) == [OLD, NEW]
    assert err == ""
    assert msgspec.json.decode(out) == {
        "version": 2,
        "fingerprint": Dataset(dataset_folder(home)).fingerprint(2),
        "examples": 2,
        "per_label": {DEV: 1, SEC: 1},
        "unknown_masters": {"gone": 1},
        "unlabelled": 0,
        "contested": 0,
    }


def test_parquet(home: Path) -> None:
    path = home / "lines.parquet"
    export(home, "--output", str(path), "--format", "parquet")
    with duckdb.connect() as database:
        found = database.execute("FROM read_parquet($path)", {"path": str(path)}).fetchall()
    assert [Example(*row) for row in found] == [OLD, NEW]


def test_an_older_version_and_a_later_beginning(home: Path) -> None:
    assert lines(export(home, "--version", "1")[0]) == [OLD]
    assert lines(export(home, "--since", "2023-11-20")[0]) == [NEW]
    assert lines(export(home, "--since", "2023-11-14T23:13:20+01:00")[0]) == [OLD, NEW]
    assert lines(export(home, "--since", "2023-11-14T22:13:21")[0]) == [NEW]


def test_nothing_was_collected_yet(tmp_path: Path) -> None:
    out, err = export(tmp_path)
    assert (out, err) == ("", "0 examples of version 0: none yet\n")


@pytest.mark.parametrize(
    ("args", "code", "reason"),
    [
        (("--version", "3"), 1, "no version 3; its latest is 2"),
        (("--since", "yesterday"), 2, "--since"),
        (("--format", "parquet"), 2, "--output"),
        (("--output", "/nowhere/at/all"), 1, "cannot write"),
        (("--output", "/nowhere/at/all", "--format", "parquet"), 1, "cannot write"),
    ],
)
def test_what_cannot_be_done_is_said(
    home: Path, args: tuple[str, ...], code: int, reason: str
) -> None:
    done = cortex("", "export", *args, CORTEX_DATA_DIR=str(home))
    assert done.returncode == code
    assert reason in done.stderr
    assert done.stdout == ""
