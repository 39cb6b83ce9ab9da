"""Which models a worker holds as its registry changes: real folders, nothing else."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from contracts.errors import FatalError
from contracts.messages import Arm, RolloutConfig
from registry.opening import open_model
from registry.registry import Registry
from tests.router_models import MASTERS, write_model
from tests.system import wait_until
from worker.model_folders import ModelFolders
from worker.models import LiveModels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.model import Model


class Worker:
    """The part of a worker that follows models."""

    def __init__(self, path: Path, packaged: Path) -> None:
        self.config = RolloutConfig()
        self.opened: list[str] = []
        self.opening = threading.Event()
        self.may_open = threading.Event()
        self.may_open.set()
        folders = ModelFolders(path, packaged)
        self.models = LiveModels(folders.find, self._open, lambda: self.config)

    @property
    def versions(self) -> tuple[str | None, str | None]:
        now = self.models.current
        return (
            None if now.champion is None else now.champion.version,
            None if now.challenger is None else now.challenger.version,
        )

    def follows(self, champion: str | None, challenger: str | None = None) -> None:
        wait_until(lambda: self.versions == (champion, challenger), 10, f"{champion} serves")

    def refuses(self, role: str) -> str:
        def refused() -> dict[str, str]:
            found = self.models.report()["refused"]
            assert isinstance(found, dict)
            return found

        wait_until(lambda: role in refused(), 10, f"{role} is refused")
        return refused()[role]

    def _open(self, folder: Path) -> Model:
        self.opening.set()
        assert self.may_open.wait(30)
        model = open_model(folder, masters=MASTERS)
        self.opened.append(model.version)
        return model


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def add(registry: Registry, tmp_path: Path) -> Callable[[str], str]:
    """Register a model in favour of a master; returns its version."""

    def register(favourite: str) -> str:
        write_model(tmp_path / favourite, favourite)
        return registry.add(tmp_path / favourite)

    return register


@pytest.fixture
def worker(registry: Registry, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(registry.root, tmp_path / "packaged")
    yield made
    made.models.stop()


def test_without_any_model_there_is_none_and_one_that_appears_serves(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    worker.models.start()
    assert worker.versions == (None, None)
    first = add("security-master")
    registry.promote(first, who="test")
    worker.follows(first)


def test_the_champion_serves_from_the_start(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first = add("security-master")
    registry.promote(first, who="test")
    worker.models.start()
    assert worker.versions == (first, None)


def test_a_version_is_opened_once_on_its_way_up_and_back(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second = add("security-master"), add("inventory-master")
    registry.promote(first, who="test")
    worker.models.start()
    registry.challenge(second, who="test")
    worker.follows(first, second)
    registry.promote(who="test")
    worker.follows(second)
    registry.rollback(who="test")
    worker.follows(first)
    assert worker.opened == [first, second]


def test_while_a_model_takes_long_to_open_others_serve_and_come_back(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second, third = (add(f"{name}-master") for name in ("security", "inventory", "cicd"))
    registry.promote(first, who="test")
    registry.challenge(second, who="test")
    worker.models.start()
    worker.follows(first, second)
    worker.opening.clear()
    worker.may_open.clear()
    registry.promote(third, who="test")
    assert worker.opening.wait(10)
    assert worker.versions[0] == first
    registry.promote(second, who="test")
    worker.follows(second)
    assert worker.opened == [first, second]
    worker.may_open.set()
    registry.promote(third, who="test")
    worker.follows(third)


def test_until_something_is_promoted_the_packaged_model_serves(
    worker: Worker, registry: Registry, add: Callable[[str], str], tmp_path: Path
) -> None:
    packaged = write_model(tmp_path / "packaged", "cicd-master")
    worker.models.start()
    assert worker.versions == (packaged, None)
    first = add("security-master")
    registry.challenge(first, who="test")
    worker.follows(packaged, first)
    registry.promote(who="test")
    worker.follows(first)


def test_a_path_may_be_the_folder_of_one_model(tmp_path: Path) -> None:
    packaged = write_model(tmp_path / "packaged", "cicd-master")
    version = write_model(tmp_path / "one", "security-master")
    worker = Worker(tmp_path / "one", tmp_path / "packaged")
    assert worker.models.open_deciding().champion is not None
    assert worker.versions == (version, None)
    assert packaged not in worker.opened


def test_a_pinned_version_takes_the_champions_place(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second = add("security-master"), add("inventory-master")
    registry.promote(first, who="test")
    worker.models.start()
    worker.config = RolloutConfig(model=second)
    worker.follows(second)
    worker.config = RolloutConfig(model="no-such-model")
    assert "no-such-model" in worker.refuses("all")
    assert worker.versions == (second, None)
    worker.config = RolloutConfig()
    worker.follows(first)


def test_nothing_is_opened_while_models_are_switched_off(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    worker.config = RolloutConfig(enable_neural=False)
    first = add("security-master")
    registry.promote(first, who="test")
    worker.models.start()
    assert worker.versions == (None, None)
    worker.config = RolloutConfig()
    worker.follows(first)


def test_a_damaged_champion_is_refused_once_and_the_old_one_serves(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second, third = add("security-master"), add("inventory-master"), add("cicd-master")
    registry.promote(first, who="test")
    worker.models.start()
    registry.promote(second, who="test")
    worker.follows(second)
    head = registry.path(third) / "head.safetensors"
    sound = head.read_bytes()
    head.chmod(0o644)
    head.write_bytes(sound[:-1] + b"\x01")
    aliases = registry.root / "aliases.json"
    with capture_logs() as lines:
        aliases.write_text(aliases.read_text().replace(second, third))
        assert "head.safetensors" in worker.refuses("champion")
        registry.challenge(first, who="test")
        worker.follows(second, first)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["model refused"]
    head.write_bytes(sound)
    worker.follows(third, first)


def test_a_registry_that_is_gone_changes_nothing(
    worker: Worker, registry: Registry, add: Callable[[str], str], tmp_path: Path
) -> None:
    write_model(tmp_path / "packaged", "cicd-master")
    first = add("security-master")
    registry.promote(first, who="test")
    worker.models.start()
    shutil.move(registry.root, tmp_path / "elsewhere")
    assert "gone" in worker.refuses("all")
    assert worker.versions == (first, None)


def test_what_fails_in_an_unknown_way_is_refused_too(tmp_path: Path) -> None:
    write_model(tmp_path / "one", "security-master")

    def fail(_folder: Path) -> Model:
        raise RuntimeError

    folders = ModelFolders(tmp_path / "one", tmp_path / "packaged")
    models = LiveModels(folders.find, fail, RolloutConfig)
    assert models.open_deciding().champion is None


def test_a_pin_that_nobody_has_leaves_a_starting_worker_without_a_model(tmp_path: Path) -> None:
    write_model(tmp_path / "packaged", "cicd-master")
    folders = ModelFolders(tmp_path / "models", tmp_path / "packaged")
    with pytest.raises(FatalError, match="no-such"):
        folders.find("no-such")


def arms(*names: str) -> tuple[Arm, ...]:
    width = 10_000 // len(names)
    return tuple(
        Arm(name=f"arm-{n}", buckets=(n * width, (n + 1) * width), model=name)
        for n, name in enumerate(names)
    )


def serving(worker: Worker, config: RolloutConfig) -> dict[str, str]:
    return {
        name: model.version for name, model in worker.models.current.for_config(config).arms.items()
    }


def test_the_models_of_arms_serve_from_the_start(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second, third = add("security-master"), add("inventory-master"), add("cicd-master")
    registry.promote(first, who="test")
    registry.challenge(third, who="test")
    worker.config = RolloutConfig(arms=arms(second, "challenger", "champion"))
    worker.models.start()
    expected = {second: second, "challenger": third, "champion": first}
    assert serving(worker, worker.config) == expected
    assert worker.versions[0] == first


def test_arms_that_come_are_followed_and_forgotten_when_they_go(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second = add("security-master"), add("inventory-master")
    registry.promote(first, who="test")
    worker.models.start()
    worker.config = config = RolloutConfig(arms=arms(second))
    assert serving(worker, config) in ({}, {second: second})
    wait_until(lambda: serving(worker, config) == {second: second}, 10, "the arm has its model")
    worker.config = RolloutConfig()
    wait_until(lambda: serving(worker, config) == {}, 10, "the arm's model is let go of")
    assert worker.versions == (first, None)


def test_a_model_that_cannot_be_opened_is_missing_in_its_arm_only(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second, third = add("security-master"), add("inventory-master"), add("cicd-master")
    registry.promote(first, who="test")
    head = registry.path(third) / "head.safetensors"
    head.chmod(0o644)
    head.write_bytes(head.read_bytes()[:-1] + b"\x01")
    worker.config = config = RolloutConfig(arms=arms("no-such-model", third, second))
    with capture_logs():
        worker.models.start()
    assert serving(worker, config) == {second: second}
    assert worker.versions == (first, None)
    assert "head.safetensors" in worker.refuses(third)
    assert "no such model" in worker.refuses("no-such-model")


def test_a_pin_and_its_end_are_followed_at_once_where_both_models_are_open(
    worker: Worker, registry: Registry, add: Callable[[str], str]
) -> None:
    first, second = add("security-master"), add("inventory-master")
    registry.promote(first, who="test")
    registry.challenge(second, who="test")
    worker.models.start()
    worker.follows(first, second)
    before = worker.models.current
    pinned = before.for_config(RolloutConfig(model=second))
    assert pinned.champion is before.challenger
    assert pinned.challenger is None
    worker.config = RolloutConfig(model=second)
    worker.follows(second)
    wait_until(lambda: "unpinned" in worker.models.current.named, 10, "the champion is at hand")
    assert worker.models.current.for_config(RolloutConfig()).champion is before.champion
    arm = arms("champion")
    assert worker.models.current.for_config(RolloutConfig(model=second, arms=arm)).arms == {
        "champion": before.champion
    }
