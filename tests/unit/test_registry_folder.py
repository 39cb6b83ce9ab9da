from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from contracts.errors import FatalError
from registry.folder import BadModelError, read_file, read_manifest, seal, verify, version_of
from registry.opening import check_model, open_model
from registry.registry import Registry
from tests import models
from tests.broken_models import BROKEN, Broken

if TYPE_CHECKING:
    from pathlib import Path

HERE = {"masters": models.LABELS, "embedder": f"{models.EMBEDDER}:openvino-int8:0:0"}
each_broken = pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)


def test_what_was_sealed_opens_and_decides(tmp_path: Path) -> None:
    version = models.write(tmp_path / "model", seed=3)
    model = open_model(tmp_path / "model", **HERE)
    (found,) = model.predict(["fix the login"], np.eye(1, models.DIM, dtype=np.float32), [])
    assert model.version == version == check_model(tmp_path / "model", **HERE).version
    assert found.scores.keys() == set(models.LABELS)
    assert sum(found.scores.values()) == pytest.approx(1.0)


@each_broken
def test_a_broken_folder_is_refused_with_its_reason(tmp_path: Path, broken: Broken) -> None:
    models.write(tmp_path / "model")
    broken.harm(tmp_path / "model")
    for refuse in (open_model, check_model):
        with pytest.raises(BadModelError, match=broken.reason) as refused:
            refuse(tmp_path / "model", **HERE)
        assert str(refused.value).startswith(f"{tmp_path / 'model'}: ")
        assert "\n" not in str(refused.value)


@each_broken
def test_a_broken_challenger_is_never_promoted(tmp_path: Path, broken: Broken) -> None:
    registry = Registry(tmp_path / "models")
    models.write(tmp_path / "one", seed=1)
    models.write(tmp_path / "two", seed=2)
    one, two = registry.add(tmp_path / "one"), registry.add(tmp_path / "two")
    registry.promote(one, who="test")
    registry.challenge(two, "test")
    folder = registry.path(two)
    shutil.copytree(folder, tmp_path / "broken", copy_function=shutil.copyfile)
    broken.harm(tmp_path / "broken")
    shutil.rmtree(folder)
    if (tmp_path / "broken").exists():
        (tmp_path / "broken").rename(folder)
    if broken.name in {"no master", "other encoder"}:  # good models, but not of this deployment
        assert check_model(folder).version == two
    else:
        with pytest.raises(FatalError):
            registry.promote(who="test")
        with pytest.raises(FatalError):
            Registry(tmp_path / "elsewhere").add(folder)
    assert registry.aliases() == {"champion": one, "challenger": two}
    assert open_model(registry.path("champion"), **HERE).version == one


def test_no_two_reasons_are_the_same_but_where_the_fault_is(tmp_path: Path) -> None:
    said: dict[str, str] = {}
    for number, broken in enumerate(BROKEN):
        folder = tmp_path / str(number)
        models.write(folder)
        broken.harm(folder)
        with pytest.raises(BadModelError) as refused:
            open_model(folder, **HERE)
        said[broken.name] = str(refused.value).removeprefix(str(folder))
    assert len(said) == len(BROKEN) >= 40
    alike = {why: [n for n in said if said[n] == why] for why in said.values()}
    assert [names for names in alike.values() if len(names) > 1] == [
        ["nothing in it", "no manifest"],
        ["empty manifest", "cut manifest"],
        ["flipped manifest", "edited manifest"],
        ["NaN dense", "infinite weight"],
        ["a pickle", "huge header"],
    ]


def test_no_changed_byte_of_any_file_is_believed(tmp_path: Path) -> None:
    models.write(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            with pytest.raises(BadModelError):
                verify(tmp_path)
        path.write_bytes(content)
    verify(tmp_path)


def test_nothing_is_parsed_before_every_byte_is_verified(tmp_path: Path) -> None:
    """A head that cannot be parsed is refused for its checksum, and so is one behind it."""
    models.write(tmp_path)
    (tmp_path / "config.json").write_bytes(b"x" * (tmp_path / "config.json").stat().st_size)
    with pytest.raises(BadModelError, match=r"config\.json is damaged: SHA-256"):
        open_model(tmp_path)


def test_what_changes_between_check_and_use_is_noticed(tmp_path: Path) -> None:
    models.write(tmp_path)
    manifest = verify(tmp_path)
    content = read_file(tmp_path, "metrics.json", manifest)
    assert json.loads(content) == {"accuracy": 0.83}
    (tmp_path / "metrics.json").write_bytes(content.replace(b"83", b"99"))
    with pytest.raises(BadModelError, match=r"metrics\.json is damaged"):
        read_file(tmp_path, "metrics.json", manifest)


def test_a_version_is_its_day_and_its_content(tmp_path: Path) -> None:
    same = [models.write(tmp_path / name, seed=5) for name in ("one", "two")]
    other = models.write(tmp_path / "three", seed=6)
    assert same[0] == same[1] != other
    assert same[0].startswith("20261122-")
    assert version_of(tmp_path / "one", "2026-11-22T09:00:00Z") == same[0]
    assert version_of(tmp_path / "one", "2026-11-23T09:00:00Z")[8:] == same[0][8:]


def test_sealing_again_follows_the_content(tmp_path: Path) -> None:
    models.write(tmp_path)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "weights.bin").write_bytes(b"1234")
    again = seal(tmp_path, data_fingerprint="d", created_at="2026-11-22T00:00:00Z")
    assert again == verify(tmp_path) == read_manifest(tmp_path)
    assert again.files["encoder/weights.bin"].bytes == 4
    assert again.size == sum(entry.bytes for entry in again.files.values())


@pytest.mark.parametrize("name", ["config.json", "head.safetensors", "metrics.json"])
def test_what_is_no_model_is_not_sealed(tmp_path: Path, name: str) -> None:
    models.write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadModelError, match=f"{name} is missing"):
        seal(tmp_path, data_fingerprint="d", created_at="2026-11-22T00:00:00Z")
    assert not (tmp_path / "manifest.json").exists()


def test_a_model_of_anything_opens_where_nobody_says_what_it_is_for(tmp_path: Path) -> None:
    models.write(tmp_path, settings=models.config(labels=["x", "y", "z"], embedder="other"))
    assert open_model(tmp_path).labels == ("x", "y", "z")


def test_an_encoder_that_is_none_is_refused_when_the_model_is_opened(tmp_path: Path) -> None:
    models.write(tmp_path)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_bytes(b"{}")
    seal(tmp_path, data_fingerprint="d", created_at="2026-11-22T00:00:00Z")
    with pytest.raises(BadModelError, match="given an encoder of its own, and has none"):
        check_model(tmp_path)
    (tmp_path / "encoder-int8").mkdir()
    (tmp_path / "encoder-int8" / "manifest.json").write_bytes(b"{}")
    head = models.tensors()
    head["dense"] = np.ones((2 * models.DIM, 3), np.float32)
    models.write(tmp_path, settings=models.config(own_encoder=True), head=head)
    check_model(tmp_path)
    with pytest.raises(BadModelError, match="is no export of an encoder"):
        open_model(tmp_path)
