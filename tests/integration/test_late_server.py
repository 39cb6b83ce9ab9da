"""What runs on waits for its server; TERM ends the wait in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import RULES_ONLY, running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = (
    ("worker",),
    ("indexer",),
    ("master", "development-master"),
    ("relay", "rq", "development-master"),
    ("watch", "."),
)


def test_processes_that_run_on_wait_for_their_server(tmp_path: Path) -> None:
    env = RULES_ONLY | {"REDIS_URL": f"unix://{tmp_path}/nothing.sock"}
    processes = [spawn(*words, cwd=tmp_path, **env) for words in COMMANDS]

    def waited(name: str) -> int:
        # The second time it is said is after six seconds, more than one-shot commands wait.
        return (tmp_path / f"{name}.log").read_text().count("waiting for unix://")

    with running(processes):
        for process, (name, *_) in zip(processes, COMMANDS, strict=True):
            wait_until(lambda n=name: waited(n) == 2, 60, f"{name} waits")  # type: ignore[misc]
            assert process.poll() is None, name
        for process, (name, *_) in zip(processes, COMMANDS, strict=True):
            assert terminate(process) == 0, name


@pytest.mark.parametrize("words", [("queues",), ("submit", "fix the login bug")])
def test_one_shot_commands_do_not_wait_long(words: tuple[str, ...], tmp_path: Path) -> None:
    process = spawn(*words, cwd=tmp_path, REDIS_URL=f"unix://{tmp_path}/nothing.sock")
    with running([process]):
        assert process.wait(30) == 1
