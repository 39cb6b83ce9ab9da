from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from contracts.errors import CortexError, FatalError
from contracts.messages import RolloutConfig
from registry.registry import Registry
from rollout.deployment import changes, describe, read_deployment
from tests.router_models import write_model

if TYPE_CHECKING:
    from pathlib import Path

# As the original's script wrote it.
ORIGINAL = b"""{
  "version": "1.0.0",
  "deployment_date": "2025-11-25T11:50:00-0600",
  "configuration": {
    "ab_test_percentage": 0.1,
    "enable_neural": false,
    "enable_rag": true,
    "model_path": "models/routing/current",
    "vectorstore_path": "vectors/codebase"
  },
  "status": "deployed"
}"""


def meaning(path: Path, **configuration: object) -> tuple[dict[str, str], tuple[str, ...]]:
    content = json.dumps({"configuration": configuration}).encode()
    return changes(read_deployment(content), path / "models", path / "store")


@pytest.fixture
def version(tmp_path: Path) -> str:
    write_model(tmp_path / "staged", "security-master")
    return Registry(tmp_path / "models").add(tmp_path / "staged")


def test_what_the_original_wrote(tmp_path: Path) -> None:
    fields, not_live = changes(read_deployment(ORIGINAL), tmp_path / "models", tmp_path / "store")
    assert fields == {"percentage": "0.1", "enable_neural": "false", "enable_rag": "true"}
    model, store = not_live
    assert "MODEL_PATH=models/routing/current" in model
    assert "VECTORSTORE_PATH=vectors/codebase" in store


def test_what_is_left_out_stays_as_it_is(tmp_path: Path) -> None:
    assert meaning(tmp_path) == ({}, ())
    assert meaning(tmp_path, enable_rag=False, colour="red") == ({"enable_rag": "false"}, ())


def test_a_model_of_the_registry_is_live(tmp_path: Path, version: str) -> None:
    folder = tmp_path / "models" / "versions" / version
    for name in (version, str(folder), str(tmp_path / "staged")):
        assert meaning(tmp_path, model_path=name) == ({"model": version}, ())
    with pytest.raises(CortexError, match="no champion model"):
        meaning(tmp_path, model_path="champion")
    Registry(tmp_path / "models").promote(version, who="test")
    assert meaning(tmp_path, model_path="champion") == ({"model": version}, ())


def test_the_registry_itself_is_its_champion(tmp_path: Path, version: str) -> None:
    del version
    assert meaning(tmp_path, model_path=str(tmp_path / "models")) == ({"model": ""}, ())
    assert meaning(tmp_path, vectorstore_path=str(tmp_path / "store")) == ({}, ())


def test_a_model_that_the_registry_lacks_is_not_live(tmp_path: Path, version: str) -> None:
    del version
    write_model(tmp_path / "other", "cicd-master")
    for name in (str(tmp_path / "other"), "no-such"):
        fields, not_live = meaning(tmp_path, model_path=name)
        assert fields == {}
        assert f"MODEL_PATH={name}" in not_live[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"configuration": {"ab_test_percentage": 10}}',
        b'{"configuration": {"ab_test_percentage": "0.1"}}',
        b'{"configuration": {"enable_rag": 1}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_deployment(content: bytes) -> None:
    with pytest.raises(FatalError, match="deployment: "):
        read_deployment(content)


@pytest.mark.parametrize("pinned", [False, True])
def test_what_is_written_reads_back(tmp_path: Path, version: str, *, pinned: bool) -> None:
    models, store = tmp_path / "models", tmp_path / "store"
    config = RolloutConfig(
        version=7, percentage=0.25, enable_rag=False, model=version if pinned else None
    )
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    written = msgspec.json.encode(
        describe(config, program="0.1", changed=moment, models=models, store=store)
    )
    document = json.loads(written)
    assert list(document) == list(json.loads(ORIGINAL))
    assert list(document["configuration"]) == list(json.loads(ORIGINAL)["configuration"])
    assert document["deployment_date"] == "2026-01-02T03:04:05+0000"
    assert document["status"] == "deployed"
    assert changes(read_deployment(written), models, store) == (
        {
            "percentage": "0.25",
            "enable_neural": "true",
            "enable_rag": "false",
            "model": version if pinned else "",
        },
        (),
    )


def test_a_paused_rollout_says_so(tmp_path: Path) -> None:
    config = RolloutConfig(paused="rolled back: worse")
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert (
        describe(config, program="", changed=moment, models=tmp_path, store=tmp_path).status
        == "paused"
    )
