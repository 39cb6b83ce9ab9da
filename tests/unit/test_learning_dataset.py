from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import duckdb
import msgspec
import numpy as np
import pytest

from contracts.errors import FatalError, TransientError
from learning.dataset import Counts, Dataset
from learning.examples import Example
from learning.parts import read_manifest
from tests.learning_records import MINUTE, T0, decided, files, outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY = 24 * 60 * MINUTE
SEC = "security-master"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a [b]*'c" / "dataset"  # no character of a path means anything


def test_a_folder_that_was_never_written_is_empty(root: Path) -> None:
    dataset = Dataset(root)
    assert dataset.version == 0
    assert dataset.examples() == []
    assert dataset.counts() == Counts(0, 0, 0)
    logged = dataset.logged()
    assert (logged.masters, logged.scores.shape) == ((), (0, 0))
    assert dataset.fingerprint() == dataset.fingerprint(0)


def test_everything_is_read_back_as_it_was(root: Path) -> None:
    odd = decided(
        "t-1",
        text='naïve "quoted" \\ \x00 \u2028 😀\n',
        repo="web",
        scores={"a\x00": 1e-9, "": 0.5, "z.y": 1 / 3},
        shadow_master=SEC,
        shadow_confidence=0.1 + 0.2,
        shadow_model="m",
        model_version="v",
        fallback_reason="abstained",
        config_version=2**64 - 1,
    )
    said = outcome("t-1", "rerouted", correct_master=SEC, score=0.3, duration_ms=1e9, detail="x\0")
    dataset = Dataset(root)
    assert dataset.append([odd], [said]) == 1
    assert list(Dataset(root).reported()) == [(odd, said)]


def test_appending_nothing_makes_no_version(root: Path) -> None:
    dataset = Dataset(root)
    assert dataset.append() == 0
    dataset.append([decided("t-1")])
    assert dataset.append() == 1


def test_an_outcome_days_later_counts_in_the_versions_from_then_on(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([decided("t-1")])
    dataset.append([], [outcome("t-1", at_ms=T0 + 5 * DAY)])
    assert dataset.examples(1) == []
    assert dataset.examples(2) == dataset.examples() == [Example("do t-1", "development-master")]


def test_an_outcome_that_is_there_before_its_decision_waits_for_it(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([], [outcome("t-1")])
    assert dataset.counts() == Counts(0, 1, 0)
    dataset.append([decided("t-1")])
    assert dataset.counts() == Counts(1, 1, 1)


def test_the_last_outcome_counts_by_its_entry_not_by_its_arrival(root: Path) -> None:
    dataset = Dataset(root)
    last = outcome("t-1", at_ms=T0 + 9, entry_id=f"{T0 + 9}-10", master=SEC)
    earlier = outcome("t-1", "failed", at_ms=T0 + 9, entry_id=f"{T0 + 9}-9")
    dataset.append([decided("t-1")], [last])
    dataset.append([], [earlier])
    assert [each.outcome for each in dataset.reported()] == [last]


def test_a_task_decided_again_has_an_outcome_for_each_decision(root: Path) -> None:
    first, second = decided("t-1"), decided("t-1", T0 + DAY, text="anew")
    of_first = outcome("t-1", "failed", at_ms=T0 + DAY - 2 * MINUTE)
    of_second = outcome("t-1", at_ms=T0 + DAY + 1)
    dataset = Dataset(root)
    dataset.append([second], [of_first])
    dataset.append([first], [of_second])
    assert list(dataset.reported()) == [(first, of_first), (second, of_second)]


def test_clocks_of_two_servers_may_differ_by_a_minute(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([decided("t-1")], [outcome("t-1", at_ms=T0 - MINUTE)])
    dataset.append([decided("t-2")], [outcome("t-2", at_ms=T0 - MINUTE - 1)])
    assert [each.decision.task_id for each in dataset.reported()] == ["t-1"]


def test_the_largest_stream_ids_there_are(root: Path) -> None:
    end = 2**64 - 1
    dataset = Dataset(root)
    dataset.append(
        [decided("t-1", end, entry_id=f"{end}-{end}")],
        [outcome("t-1", at_ms=end, entry_id=f"{end}-{end}"), outcome("t-2", at_ms=0)],
    )
    assert dataset.counts() == Counts(1, 2, 1)


def test_what_is_appended_twice_counts_once_in_the_version_it_first_came_with(root: Path) -> None:
    dataset = Dataset(root)
    rows = [decided("t-1"), decided("t-2", T0 + 1)], [outcome("t-1")]
    dataset.append(*rows)
    print_before = dataset.fingerprint()
    dataset.append([*rows[0], *rows[0]], rows[1])
    assert dataset.counts() == Counts(2, 1, 1)
    dataset.compact()
    assert dataset.counts() == dataset.counts(1) == Counts(2, 1, 1)
    assert dataset.fingerprint(1) == dataset.fingerprint() == print_before
    assert [part.rows for part in read_manifest(root).parts] == [2, 1]


def test_versions_read_as_they_were_before_parts_were_merged(root: Path) -> None:
    dataset = Dataset(root)
    for number in range(8):
        of = number // 2
        kind = "failed" if number % 2 else "success"
        told = [outcome(f"t-{of}", kind, at_ms=T0 + MINUTE + number)]
        dataset.append([decided(f"t-{number}", T0 + number)], told)
    before = [(dataset.fingerprint(v), dataset.examples(v)) for v in range(9)]
    assert dataset.compact() == 9
    after = [(dataset.fingerprint(v), dataset.examples(v)) for v in range(9)]
    assert after == before
    assert len({fingerprint for fingerprint, _ in before}) == 9
    assert len(read_manifest(root).parts) == 2


def test_parts_are_merged_when_there_are_too_many(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learning.dataset._MOST_PARTS", 4)
    dataset = Dataset(root)
    for number in range(30):
        dataset.append([decided(f"t-{number}", T0 + number)])
    assert len(read_manifest(root).parts) <= 4
    assert dataset.counts().decisions == 30
    assert dataset.version > 30


def test_rows_are_in_even_if_merging_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise TransientError("full")

    monkeypatch.setattr("learning.dataset._MOST_PARTS", 1)
    monkeypatch.setattr(Dataset, "compact", refuse)
    dataset = Dataset(root)
    assert [dataset.append([decided(f"t-{n}", T0 + n)]) for n in range(3)] == [1, 2, 3]
    monkeypatch.undo()
    assert dataset.counts().decisions == 3


def test_large_parts_are_left_alone(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([decided(f"t-{n}", T0 + n, text=os.urandom(64).hex()) for n in range(500)])
    dataset.append([decided("t-a", T0 + 500)])
    dataset.append([decided("t-b", T0 + 501)])
    (large, small, _) = read_manifest(root).parts
    dataset.compact(smaller_than=large.size)
    parts = read_manifest(root).parts
    assert parts[0] == large
    assert [part.rows for part in parts] == [500, 2]
    assert small not in parts
    assert dataset.counts().decisions == 502


def test_tidying_forgets_what_waited_too_long_and_no_version_notices(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([decided("old"), decided("late")], [outcome("nobody's")])
    dataset.append([decided("new", T0 + 9 * DAY)], [outcome("soon", at_ms=T0 + 9 * DAY)])
    dataset.append([], [outcome("late", at_ms=T0 + 9 * DAY + 1)])
    before = [dataset.fingerprint(version) for version in range(4)]
    assert dataset.tidied_ms() == 0
    version = dataset.tidy(5 * DAY, now_ms=T0 + 10 * DAY)
    assert (version, dataset.tidied_ms()) == (4, T0 + 10 * DAY)
    assert dataset.counts() == Counts(2, 2, 1)
    assert [dataset.fingerprint(version) for version in range(4)] == before


def test_tidying_may_leave_nothing(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([decided("t-1")])
    dataset.tidy(DAY, now_ms=T0 + 9 * DAY)
    assert dataset.counts() == Counts(0, 0, 0)
    dataset.append([decided("t-2")], [outcome("t-2")])
    assert dataset.counts() == Counts(1, 1, 1)


def test_replaced_files_stay_for_readers_and_go_later(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([decided("t-1")])
    (first,) = files(root, read_manifest(root))
    os.utime(root / first, (0, 0))
    dataset.append([decided("t-2", T0 + 1)])
    dataset.compact()
    assert first in files(root, read_manifest(root))
    os.utime(root / first, (0, 0))
    dataset.compact()
    assert first not in files(root, read_manifest(root))
    assert dataset.counts().decisions == 2


def test_logged_is_what_was_chosen_how_likely_and_how_it_went(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append(
        [
            decided("t-2", T0 + 1, ab_test_group="treatment", propensity=0.2, selected_master=SEC),
            decided("t-1", scores={"quality-master": 1.0}),
            decided("t-3", T0 + 2),
        ],
        [outcome("t-1", score=0.5), outcome("t-2", master=SEC, at_ms=T0 + 3)],
    )
    logged = dataset.logged()
    assert logged.masters == ("development-master", "quality-master", SEC)
    assert logged.actions.tolist() == [0, 2]
    assert logged.rewards.tolist() == [0.5, 1.0]
    assert logged.propensities.tolist() == [1.0, 0.2]
    np.testing.assert_array_equal(logged.scores, [[0, 1, 0], [0.75, 0, 0.25]])
    assert logged.treatment.tolist() == [False, True]
    assert logged.decided_at_ms.tolist() == [T0, T0 + 1]
    assert logged.texts == ["do t-1", "do t-2"]


@pytest.mark.parametrize("version", [-1, 2])
def test_a_version_that_never_was(root: Path, version: int) -> None:
    Dataset(root).append([decided("t-1")])
    with pytest.raises(FatalError, match=f"no version {version}; its latest is 1"):
        Dataset(root).examples(version)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda root: next(root.glob("outcomes-*")).unlink(), "lacks"),
        (lambda root: os.truncate(next(root.glob("decisions-*")), 100), "checksum"),
        (lambda root: (root / "manifest.json").write_bytes(b"{"), "damaged"),
        (lambda root: (root / "manifest.json").write_bytes(b""), "damaged"),
    ],
)
def test_damage_is_said_and_nothing_is_taught(
    root: Path, damage: Callable[[Path], object], reason: str
) -> None:
    Dataset(root).append([decided("t-1")], [outcome("t-1")])
    damage(root)
    with pytest.raises(FatalError, match=reason):
        Dataset(root).examples()


def test_a_disk_that_is_full_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset(root)
    dataset.append([decided("t-1")])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("learning.parts.sync", full)
        with pytest.raises(TransientError, match="No space left"):
            dataset.append([decided("t-2", T0 + 1)])
    assert dataset.version == 1
    assert dataset.append([decided("t-2", T0 + 1)]) == 2
    assert dataset.counts().decisions == 2


def test_a_folder_nobody_may_write_is_trouble_that_may_pass(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TransientError, match="cannot write"):
        Dataset(tmp_path / "file").append([decided("t-1")])


def test_any_reader_of_parquet_sees_the_columns(root: Path) -> None:
    Dataset(root).append([decided("t-1")], [outcome("t-1")])
    (path,) = (path for path in root.iterdir() if path.name.startswith("decisions-"))
    with path.open("rb") as file, duckdb.connect() as database:
        (root.parent.parent / "copy.parquet").write_bytes(file.read())
        described = database.sql(f"DESCRIBE FROM '{root.parent.parent}/copy.parquet'").fetchall()
    names = [name for name, *_ in described]
    assert names == [*decided("t-1").__struct_fields__, "version"]
    assert msgspec.structs.asdict(decided("t-1")).keys() == set(names) - {"version"}
