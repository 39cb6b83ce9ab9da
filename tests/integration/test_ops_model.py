"""`cortex model`, as operators run it. None of it needs Redis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cortex_program import cortex

from tests import models

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

NO_REDIS = "redis://127.0.0.1:1"


def run(home: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    return cortex(NO_REDIS, "model", *args, cwd=home, **({"CORTEX_DATA_DIR": "data"} | more))


def told(home: Path, *args: str, **more: str) -> object:
    done = run(home, *args, "--json", **more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_a_folder_to_the_champion_and_back(tmp_path: Path) -> None:
    one, two = (models.write(tmp_path / f"trained{n}", seed=n) for n in range(2))
    assert told(tmp_path, "list") == {"aliases": {}, "versions": []}
    assert told(tmp_path, "add", "trained0") == {"version": one}
    assert told(tmp_path, "add", "trained1") == {"version": two}
    assert told(tmp_path, "promote", one, "--who", "ann", "--why", "first")["champion"] == one
    assert told(tmp_path, "challenge", two)["challenger"] == two
    assert told(tmp_path, "promote")["champion"] == two
    listed = told(tmp_path, "list")
    assert listed["aliases"] == {"champion": two, "previous": one}
    assert {each["version"]: each["aliases"] for each in listed["versions"]} == {
        one: ["previous"],
        two: ["champion"],
    }
    assert told(tmp_path, "verify") == {
        name: {"ok": True, "problem": None} for name in sorted((one, two))
    }
    shown = told(tmp_path, "show")
    assert shown["manifest"]["version"] == two
    assert shown["config"]["labels"] == list(models.LABELS)
    assert shown["metrics"] == {"accuracy": 0.83}
    assert told(tmp_path, "rollback", "--why", "worse")["champion"] == one
    history = told(tmp_path, "history")
    assert [each["action"] for each in history] == ["promote", "challenge", "promote", "rollback"]
    assert (history[0]["who"], history[0]["why"]) == ("ann", "first")


def test_what_people_read(tmp_path: Path) -> None:
    version = models.write(tmp_path / "trained")
    assert run(tmp_path, "add", "trained").stdout == f"{version}\n"
    for args in (["promote", version], ["list"], ["show"], ["history"], ["verify"]):
        done = run(tmp_path, *args)
        assert (done.returncode, done.stderr) == (0, "")
        assert version in done.stdout


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"labels": ["cook", "waiter"]}, "labels that are no masters: cook, waiter"),
        ({"embedder": "bge-small"}, "trained on embeddings by bge-small, not by all-MiniLM-L6-v2"),
        ({"temperature": -1}, "model: config.json: Expected `float` > 0.0"),
    ],
)
def test_what_could_not_decide_here_is_not_promoted(
    tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    good = models.write(tmp_path / "good")
    head = models.tensors(labels=len(settings.get("labels", models.LABELS)))
    models.write(tmp_path / "bad", settings=models.config(**settings), head=head)
    told(tmp_path, "add", "good")
    told(tmp_path, "promote", good)
    added = run(tmp_path, "add", "bad")
    refusals = [run(tmp_path, "verify", "bad", "--json")]
    if added.returncode == 0:  # a model, but not for this deployment
        version = added.stdout.strip()
        refusals += [run(tmp_path, command, version) for command in ("promote", "challenge")]
    else:
        refusals.append(added)
    for done in refusals:
        assert done.returncode == 1
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
    assert not json.loads(refusals[0].stdout)["bad"]["ok"]
    assert told(tmp_path, "list")["aliases"] == {"champion": good}


def test_a_damaged_version_is_named(tmp_path: Path) -> None:
    version = models.write(tmp_path / "trained")
    told(tmp_path, "add", "trained")
    head = tmp_path / "data" / "models" / "versions" / version / "head.safetensors"
    head.chmod(0o644)
    head.write_bytes(b"")
    for args in (["verify"], ["verify", version], ["verify", str(head.parent)], ["show", version]):
        done = run(tmp_path, *args)
        assert done.returncode == 1
        assert "head.safetensors has 0 bytes" in done.stderr
    done = run(tmp_path, "promote", version)
    assert (done.returncode, told(tmp_path, "list")["aliases"]) == (1, {})


def test_the_registry_is_the_one_that_workers_follow(tmp_path: Path) -> None:
    version = models.write(tmp_path / "trained")
    told(tmp_path, "add", "trained", MODEL_PATH="elsewhere")
    assert told(tmp_path, "promote", version, MODEL_PATH="elsewhere")["champion"] == version
    assert told(tmp_path, "list") == {"aliases": {}, "versions": []}
    done = run(tmp_path, "list", MODEL_PATH="trained")
    assert done.returncode == 1
    assert "trained is one model, not a registry of models" in done.stderr
    assert told(tmp_path, "verify", "trained", MODEL_PATH="trained")["trained"]["ok"]


def test_what_is_not_there(tmp_path: Path) -> None:
    for args, reason in (
        (["rollback"], "there is no registry"),
        (["promote"], "there is no challenger model"),
        (["show"], "there is no champion model"),
        (["verify", "nothing"], "there is no model 'nothing'"),
        (["add", "nothing"], "there is no such folder"),
    ):
        done = run(tmp_path, *args)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason.replace("there is no registry", "is no registry of models") in done.stderr
