"""Exports: one of two processes makes it, and a bad one is refused. On a small random model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from contracts.errors import FatalError
from tests.encoders import small_encoder
from vectors import exported
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import Backend, open_encoder
from vectors.model_source import ModelSource, Side, resolve
from vectors.openvino_encoder import import_openvino, open_export
from vectors.openvino_model import read_model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return resolve(str(small_encoder(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def made(small: ModelSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes export at once, over what a third one left behind when it was killed."""
    cache = tmp_path_factory.mktemp("cache")
    folder = cache / exported.folder_name(small.name)
    left_behind = folder.with_name(f"{folder.name}.partial")
    left_behind.mkdir()
    (left_behind / "junk").touch()
    script = [sys.executable, "-m", "vectors.export", small.name, small.location, str(cache)]
    both = [subprocess.Popen(script, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    # The loser finds the winner's folder: renaming its own over it would have failed.
    assert [process.returncode for process in both] == [0, 0], errors
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "export"))


def test_of_two_processes_one_exports_and_nothing_is_left_over(made: Path) -> None:
    assert sorted(path.name for path in made.parent.iterdir()) == [made.name, f"{made.name}.lock"]
    assert {path.name for path in made.iterdir()} == {
        "manifest.json",
        *exported.read_verified(made).files,
    }


def test_an_export_is_opened_without_exporting_again(small: ModelSource, made: Path) -> None:
    before = made.stat().st_mtime_ns
    encoder = open_encoder(small.location, cache_dir=made.parent)
    vectors = encoder.encode(["a text", "a text that is cut off" * 40])
    assert vectors.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert encoder.identity.startswith(f"{small.name}:openvino-int8:{exported.recipe()}:")
    assert made.stat().st_mtime_ns == before


def test_words_are_decoded_when_they_are_looked_up_and_vectors_are_the_same(made: Path) -> None:
    openvino = import_openvino()
    path, words = made / exported.MODEL_FILE, 30_522
    as_exported, as_read = openvino.Core().read_model(path), read_model(openvino, path)
    vectors, tables = [], []
    for model in (as_exported, as_read):
        operations = model.get_ops()
        tables.append([each for each in operations if _is_float_table(each, words)])
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        ids = np.random.default_rng(5).integers(0, words, (8, 24))
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        vectors.append(compiled({**feed, "token_type_ids": np.zeros_like(ids)})[0])
    assert tables[0]
    assert not tables[1]
    np.testing.assert_array_equal(vectors[0], vectors[1])


def _is_float_table(operation: Any, rows: int) -> bool:  # noqa: ANN401 - openvino is untyped
    (output, *_) = operation.outputs() or [None]
    if output is None or output.get_partial_shape().is_dynamic:
        return False
    shape = output.get_shape()
    return len(shape) > 1 and shape[0] == rows and shape[1] > 1 and output.element_type.is_real()


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "tokenizer.json"])
def test_a_file_with_one_changed_byte_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(FatalError, match=rf"damaged \({name}\): delete the folder"):
        open_export(copy)


@pytest.mark.parametrize("name", ["manifest.json", "model.bin"])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(FatalError, match="damaged"):
        open_export(copy)


def test_a_manifest_that_vouches_for_less_than_everything_is_refused(copy: Path) -> None:
    manifest = exported.read_verified(copy)
    del manifest.files["model.bin"]
    exported.write_manifest(copy, manifest)
    with pytest.raises(FatalError, match=r"damaged \(model.bin\)"):
        open_export(copy)


@pytest.mark.parametrize(
    "figures",
    [{"fidelity_mean": 0.98}, {"fidelity_min": 0.9}, {"fidelity_mean": -1.0}],
)
def test_an_unfaithful_export_is_refused(copy: Path, figures: dict[str, float]) -> None:
    manifest = msgspec.structs.replace(exported.read_verified(copy), **figures)
    exported.write_manifest(copy, manifest)
    with pytest.raises(FatalError, match="not faithful"):
        open_export(copy)


def test_files_the_engine_cannot_read_are_refused_in_one_line(copy: Path) -> None:
    (copy / "model.xml").write_text("<net/>")
    manifest = exported.read_manifest(copy)
    manifest.files["model.xml"] = exported.sha256(copy / "model.xml")
    exported.write_manifest(copy, manifest)
    with pytest.raises(FatalError, match="cannot be loaded") as why:
        open_export(copy)
    assert "\n" not in str(why.value)


def test_a_folder_that_holds_no_model_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FatalError, match=r"could not be exported: encoder model .* cannot be"):
        open_encoder(str(tmp_path / "empty"), cache_dir=tmp_path / "cache")


PROMPTS = {"query": "query: ", "passage": "passage: ", "clustering": "cluster: "}


@pytest.fixture(scope="module")
def prompted(small: ModelSource, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model with prompts in its configuration, and where its export goes."""
    folder = Path(shutil.copytree(small.location, tmp_path_factory.mktemp("prompted") / "model"))
    path = folder / "config_sentence_transformers.json"
    configuration = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(configuration | {"prompts": PROMPTS}))
    return folder, tmp_path_factory.mktemp("prompted-cache")


@pytest.mark.parametrize("backend", ["openvino", "torch"])
# transformers warns about its own deprecated names.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_each_side_gets_the_prompt_that_its_model_wants(
    prompted: tuple[Path, Path], small: ModelSource, made: Path, backend: Backend, tmp_path: Path
) -> None:
    folder, cache = prompted
    asked, found = (
        open_encoder(str(folder), backend=backend, cache_dir=cache, side=side)
        for side in get_args(Side)
    )
    bare = open_encoder(small.location, backend=backend, cache_dir=made.parent)
    text = "where leases are renewed"
    assert asked.encode([text]).tobytes() == bare.encode([f"query: {text}"]).tobytes()
    assert found.encode([text]).tobytes() == bare.encode([f"passage: {text}"]).tobytes()
    assert asked.identity == found.identity != bare.identity

    remembered = tmp_path / "embeddings.sqlite"
    for each in (asked, found):
        cached = CachedEncoder(each, remembered)
        assert (cached.encode([text]) == each.encode([text]).astype("<f2")).all()
        assert cached.misses == 1
        cached.close()
