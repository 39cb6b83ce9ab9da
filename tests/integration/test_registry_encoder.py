"""Models with an encoder of their own: exported with it, opened from it. On a small random one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from registry import encoders
from registry.encoders import OwnEncoder, export_encoder
from registry.folder import BadModelError
from registry.opening import open_model
from registry.registry import Registry
from tests import models
from tests.encoders import small_encoder
from vectors import exported
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from pathlib import Path


OWN_DIM = 32


def own_head(width: int = OWN_DIM) -> dict[str, np.ndarray]:
    """A head over both encoders' embeddings."""
    return models.tensors() | {
        "dense": np.ones((models.DIM + width, len(models.LABELS)), np.float32),
        "prototypes": np.eye(2, width, dtype=np.float32),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small_encoder(folder).rename(folder / "encoder")
    shutil.rmtree(folder / "bert")
    export_encoder(folder)
    models.write(folder, settings=models.config(own_encoder=True), head=own_head())
    return folder


def test_it_opens_from_the_registry_without_exporting_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert {path.name for path in made.iterdir()} == {
        *("config.json", "head.safetensors", "metrics.json", "manifest.json"),
        *("encoder", "encoder-int8"),
    }
    registry = Registry(tmp_path / "models")
    registry.promote(registry.add(made), who="test")
    before = {path: path.stat().st_mtime_ns for path in registry.root.rglob("*")}
    model = open_model(registry.path("champion"), masters=models.LABELS)
    (found,) = model.predict(["a text"], np.eye(1, models.DIM, dtype=np.float32), [])
    assert sum(found.scores.values()) == pytest.approx(1.0)
    assert {path: path.stat().st_mtime_ns for path in registry.root.rglob("*")} == before
    assert not (tmp_path / "cache").exists()


def test_it_embeds_as_the_encoder_it_was_exported_from(made: Path, tmp_path: Path) -> None:
    texts = ["fix the login", "rotate the keys"]
    reference = open_encoder(str(made / "encoder"), backend="torch", cache_dir=tmp_path)
    cosines = (OwnEncoder(made).encode(texts) * reference.encode(texts)).sum(axis=1)
    assert cosines.min() > exported.LEAST_WORST


def test_an_export_of_an_older_program_is_made_anew_elsewhere(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "old"
    shutil.copytree(made, folder)
    manifest = exported.read_manifest(folder / "encoder-int8")
    older = msgspec.structs.replace(manifest, recipe="00000000")
    exported.write_manifest(folder / "encoder-int8", older)
    encoder = OwnEncoder(folder)
    assert encoder.opened.identity.split(":")[2] == exported.recipe()
    assert encoder.encode(["a text"]).shape == (1, OWN_DIM)
    assert encoders.EXPORT in {path.name for path in folder.iterdir()}
    assert any((tmp_path / "cache").rglob("model.bin"))


def test_a_head_for_another_encoder_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "model")
    models.write(
        tmp_path / "model", settings=models.config(own_encoder=True), head=own_head(OWN_DIM + 1)
    )
    with pytest.raises(BadModelError, match="its own encoder does not fit its head"):
        open_model(tmp_path / "model")
