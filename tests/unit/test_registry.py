from __future__ import annotations

import fcntl
import os
import resource
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from contracts.errors import FatalError, TransientError
from registry import registry as module
from registry.changes import Change, Changes
from registry.folder import BadModelError, verify
from registry.registry import Registry
from tests import models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def one(registry: Registry, tmp_path: Path) -> str:
    models.write(tmp_path / "one", seed=1)
    return registry.add(tmp_path / "one")


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> str:
    models.write(tmp_path / "two", seed=2)
    return registry.add(tmp_path / "two")


def test_a_fresh_registry_means_nothing_and_is_not_made_by_looking(registry: Registry) -> None:
    assert registry.aliases() == {}
    assert registry.versions() == registry.history() == []
    assert not Registry.at(registry.root)
    with pytest.raises(FatalError, match="there is no champion model"):
        registry.path("champion")
    with pytest.raises(FatalError, match="is no registry of models"):
        registry.rollback("test")
    assert not registry.root.exists()


def test_a_model_is_copied_in_read_only_and_the_same_one_once(
    registry: Registry, one: str, tmp_path: Path
) -> None:
    folder = registry.path(one)
    assert verify(folder) == verify(tmp_path / "one")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    before = folder.stat()
    assert registry.add(tmp_path / "one") == one
    assert folder.stat() == before
    assert [each.version for each in registry.versions()] == [one]
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock", one]


def test_another_model_never_takes_the_place_of_a_version(
    registry: Registry, one: str, tmp_path: Path
) -> None:
    models.write(tmp_path / "other", seed=9, version=one)
    before = verify(registry.path(one))
    with pytest.raises(BadModelError, match=f"another model is registered as {one}"):
        registry.add(tmp_path / "other")
    assert verify(registry.path(one)) == before


def test_a_refused_model_leaves_nothing_behind(
    registry: Registry, one: str, tmp_path: Path
) -> None:
    models.write(tmp_path / "bad", seed=3)
    (tmp_path / "bad" / "metrics.json").write_bytes(b"{}")
    with pytest.raises(BadModelError, match=r"metrics\.json"):
        registry.add(tmp_path / "bad")
    assert [each.version for each in registry.versions()] == [one]


def test_promotion_challenge_and_rollback(registry: Registry, one: str, two: str) -> None:
    registry.promote(one, who="ann", why="first")
    assert registry.aliases() == {"champion": one}
    registry.challenge(two, "bob", "nightly")
    assert registry.aliases() == {"champion": one, "challenger": two}
    change = registry.promote(who="ann", why="better")
    assert change.aliases == registry.aliases() == {"champion": two, "previous": one}
    assert registry.path("champion") == registry.path(two)
    registry.rollback("ann", "worse")
    assert registry.aliases() == {"champion": one}
    with pytest.raises(FatalError, match="there is no previous model"):
        registry.rollback("ann")
    said = [(each.number, each.who, each.action, each.why) for each in registry.history()]
    assert said == [
        (1, "ann", "promote", "first"),
        (2, "bob", "challenge", "nightly"),
        (3, "ann", "promote", "better"),
        (4, "ann", "rollback", "worse"),
    ]
    assert registry.history()[-1].aliases == registry.aliases()


def test_what_changes_nothing_is_no_change(registry: Registry, one: str, two: str) -> None:
    registry.promote(one, who="ann")
    promoted = registry.promote("champion", who="bob")
    assert (promoted.number, promoted.who) == (1, "ann")
    assert registry.retire("bob") == promoted
    registry.challenge(two, "ann")
    assert registry.challenge(two, "bob").number == 2
    assert registry.retire("ann").aliases == {"champion": one}
    assert len(registry.history()) == 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "no model 'nothing'"),
        ("../one", r"no model '\.\./one'"),
        ("", "no challenger"),
        ("challenger", "no challenger"),
        (".lock", r"no model '\.lock'"),
    ],
)
def test_what_is_not_there_is_not_promoted(
    registry: Registry, one: str, name: str, reason: str
) -> None:
    registry.promote(one, who="test")
    with pytest.raises(FatalError, match=reason):
        registry.promote(name, who="test")
    with pytest.raises(FatalError, match=f"{one} is the champion"):
        registry.challenge(one, "test")
    assert registry.aliases() == {"champion": one}


def test_a_rollback_to_a_damaged_model_is_refused(registry: Registry, one: str, two: str) -> None:
    registry.promote(one, who="test")
    registry.promote(two, who="test")
    (registry.path(one) / "head.safetensors").chmod(0o644)
    (registry.path(one) / "head.safetensors").write_bytes(b"")
    with pytest.raises(BadModelError, match=r"head\.safetensors"):
        registry.rollback("test")
    assert registry.aliases() == {"champion": two, "previous": one}


def test_a_folder_under_anothers_name_is_refused(registry: Registry, one: str, two: str) -> None:
    shutil.rmtree(registry.path(two))
    shutil.copytree(registry.path(one), registry.root / "versions" / two)
    with pytest.raises(BadModelError, match=f"it is {one}"):
        registry.promote(two, who="test")


def test_versions_say_what_they_serve_as_and_which_are_damaged(
    registry: Registry, one: str, two: str
) -> None:
    registry.promote(one, who="test")
    (registry.path(two) / "manifest.json").unlink()
    by_name = {each.version: each for each in registry.versions()}
    assert by_name[one].aliases == ("champion",)
    assert (by_name[one].problem, by_name[one].data_fingerprint) == (None, "data 1")
    assert by_name[one].bytes == verify(registry.path(one)).size > 0
    assert "manifest.json is missing" in (by_name[two].problem or "")


def test_changes_are_seen_once_even_where_they_come_in_one_tick_of_the_clock(
    registry: Registry, one: str, two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.changes.time.time_ns", lambda: 10**18)
    first = registry.aliases_if_changed(None)
    assert first is not None
    assert first[1] == {}
    assert registry.aliases_if_changed(first[0]) is None
    tokens = {first[0]}
    for turn in range(20):
        registry.promote(two if turn % 2 else one, who="test")
        seen = registry.aliases_if_changed(first[0])
        assert seen is not None
        assert seen[1] == registry.aliases()
        assert registry.aliases_if_changed(seen[0]) is None
        tokens.add(seen[0])
    assert len(tokens) == len({stamp for stamp, _ in tokens}) == 21


def test_a_history_that_was_cut_short_is_completed(registry: Registry, one: str, two: str) -> None:
    registry.promote(one, who="test")
    registry.promote(two, who="test")
    whole = registry.history()
    log = registry.root / "history.jsonl"
    content = log.read_bytes()
    first = content.index(b"\n") + 1
    for cut in range(first, len(content)):
        log.write_bytes(content[:cut])
        assert registry.history() == whole
    registry.promote(one, who="test")
    assert [each.number for each in registry.history()] == [1, 2, 3]
    assert log.read_bytes().startswith(content)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"number":1,"king":"x"}'])
def test_damaged_aliases_are_said_to_be_so_and_not_overwritten(
    registry: Registry, one: str, text: bytes
) -> None:
    registry.promote(one, who="test")
    state = registry.root / "aliases.json"
    state.write_bytes(text)
    for use in (registry.aliases, registry.history, lambda: registry.promote(one, who="test")):
        with pytest.raises(FatalError, match=r"aliases\.json is damaged"):
            use()
    assert state.read_bytes() == text


def test_a_writer_that_hangs_holds_others_up_for_a_while_only(
    registry: Registry, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_S", 0.05)
    lock = os.open(registry.root / ".lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(TransientError, match="another process holds the lock"):
        registry.promote(one, who="test")
    assert registry.aliases() == {}
    os.close(lock)
    assert registry.promote(one, who="test").champion == one


def test_a_full_disk_leaves_what_was(registry: Registry, one: str, two: str) -> None:
    registry.promote(one, who="test")
    (registry.root / "aliases.draft").symlink_to("/dev/full")
    with pytest.raises(TransientError, match="No space left"):
        registry.promote(two, who="test")
    assert registry.aliases() == {"champion": one}
    assert [each.number for each in registry.history()] == [1]


def test_a_change_that_could_not_be_written_down_has_happened(tmp_path: Path) -> None:
    changes = Changes(tmp_path)
    first = Change(number=1, who="test", why="w" * 10_000, action="promote", champion="x")
    changes.record(first)
    second = msgspec.structs.replace(first, number=2, why="", champion="y")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))  # less than the history has
    try:
        changes.record(second)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert changes.last() == second
    assert changes.all() == [first, second]
    assert (tmp_path / "history.jsonl").read_bytes().count(b"\n") == 1
    third = msgspec.structs.replace(first, number=3, champion="z")
    changes.record(third)
    assert changes.all() == [first, second, third]
    assert (tmp_path / "history.jsonl").read_bytes().count(b"\n") == 3
