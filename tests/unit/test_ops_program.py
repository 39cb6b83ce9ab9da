from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.cli import app

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "redis", "rq", "faiss", "torch", "openvino", "tree_sitter", "watchfiles", "re2")


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_starting_imports_nothing_heavy() -> None:
    code = f"import sys, ops.cli; print([name for name in {HEAVY} if name in sys.modules])"
    assert python("-c", code).stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "worker", "indexer", "watch", "submit", "master", "route", "search"),
        *("queues", "monitor", "relay rq"),
        *("dead list", "dead show", "dead replay", "dead purge", "rollout show", "rollout set"),
        *("index build", "index status", "index verify", "index reconcile"),
        *("model list", "model show", "model verify", "model add", "model promote"),
        *("model challenge", "model retire", "model rollback", "model history"),
    ],
)
def test_every_command_of_the_design_has_help(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_usage_errors_exit_with_2() -> None:
    for args in (["nonsense"], ["rollout", "set"], ["search"], ["dead", "nonsense"]):
        done = python("-m", "ops.cli", *args)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr


def without(package: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `cortex ARGS` as if a package were not installed."""
    hide = f"import sys; sys.modules[{package!r}] = None; sys.argv = {['cortex', *args]!r}"
    return python("-c", f"{hide}; from ops.cli import main; main()")


@pytest.mark.parametrize(
    ("package", "command"),
    [("faiss", "search x"), ("snowballstemmer", "search x"), ("watchfiles", "watch .")],
)
def test_a_package_that_is_not_installed_is_named_in_one_line(package: str, command: str) -> None:
    done = without(package, *command.split())
    assert (done.returncode, done.stderr) == (
        1,
        f"cortex: {package} is not installed; pip install 'cortex[all]' brings all there is\n",
    )


@pytest.mark.parametrize("command", ["search x", "index status", "index verify"])
def test_an_existing_store_takes_nothing_that_only_indexing_needs(
    command: str, tmp_path: Path
) -> None:
    done = without("tree_sitter", *command.split(), "--store", str(tmp_path))
    assert done.stderr.startswith(f"cortex: no index in {tmp_path}; build one with: ")
