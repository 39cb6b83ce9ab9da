from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts.errors import FatalError
from vectors import exported
from vectors.model_source import DEFAULT_MODEL, needs_extra, resolve

if TYPE_CHECKING:
    from pathlib import Path


def test_the_default_model_keeps_its_name_wherever_it_lies() -> None:
    assert resolve(None) == resolve(DEFAULT_MODEL)
    assert resolve(None).name == DEFAULT_MODEL


def test_a_hub_name_becomes_a_name_for_a_folder() -> None:
    assert resolve("acme/small").name == "acme--small"
    assert resolve("acme/small").location == "acme/small"


def test_a_folder_is_named_by_what_is_in_it(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    before = resolve(str(tmp_path)).name
    (tmp_path / "README.md").write_text("not a weight")
    assert resolve(str(tmp_path)).name == before
    weights.write_bytes(b"two")
    assert resolve(str(tmp_path)).name != before


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all"])
def test_a_path_without_a_folder_is_refused(path: str) -> None:
    with pytest.raises(FatalError, match="there is no folder"):
        resolve(path)


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(FatalError, match=r"'cortex\[retrieval\]'"), needs_extra("retrieval"):
        import no_such_package  # type: ignore[import-not-found] # noqa: F401, PLC0415 # the point


def test_check_texts_are_never_calibrated_on() -> None:
    calibration, check = exported.texts()
    assert len(calibration) > 200
    assert len(check) >= 40
    assert not set(calibration) & set(check)


def test_the_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert exported.default_cache_dir() == tmp_path / "cortex/encoders"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/invalid")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert exported.default_cache_dir() == tmp_path / "home/.cache/cortex/encoders"
