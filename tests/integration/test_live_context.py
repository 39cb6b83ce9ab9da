"""What files say now reaches the decisions of a running worker; every process is real."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from streams.connect import connect
from streams.keys import Keys
from tests.system import running, spawn, terminate, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

KEYS = Keys()
FILES = {
    "auth/login.py": "def authenticate(user, password):\n    return check(user, password)\n",
    "docs/deploy.md": "# Deploying\n\nThe pipeline ships every green build to production.\n",
    "zebra.py": "def stripes_of_zebra(herd):\n    return [z.stripes for z in herd]\n",
}
SECONDS = 10.0  # what a loaded machine may need; the demonstration measures what it is


class Asker:
    """Submits tasks and reads where their context comes from."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.count = 0

    def __call__(self, text: str) -> dict[str, str]:
        """Return path -> text of the context of a fresh task."""
        task_id, self.count = f"ask-{self.count}", self.count + 1
        self.client.xadd(KEYS.tasks, {"task_id": task_id, "description": text})
        found: dict[str, str] = {}

        def decided() -> bool:
            for _, fields in self.client.xrevrange(KEYS.decisions, count=1):
                if fields[b"task_id"].decode() == task_id:
                    return True
            return False

        wait_until(decided, 30, f"{task_id} is decided")
        master = orjson.loads(self.client.xrevrange(KEYS.decisions, count=1)[0][1][b"decision"])
        queue = KEYS.master(master["selected_master"])
        decision = orjson.loads(self.client.xrevrange(queue, count=1)[0][1][b"decision"])
        assert decision["context_status"] in {"ok", "empty", "unavailable"}
        for item in decision["context"]:
            found[item["path"]] = found.get(item["path"], "") + item["text"]
        return found

    def until(self, text: str, condition: Callable[[dict[str, str]], bool]) -> None:
        wait_until(lambda: condition(self(text)), SECONDS, f"{text!r} shows it")


def test_edits_new_files_deletions_and_moves_show_in_decisions(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for path, text in FILES.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    with connect(data_dir=tmp_path / ".cortex") as client:
        ask = Asker(client)
        watcher = spawn("watch", str(source), cwd=tmp_path)
        indexer = spawn("indexer", cwd=tmp_path, CORTEX_ROOT=str(source))
        worker = spawn("worker", cwd=tmp_path)
        with running([watcher, indexer, worker]):
            wait_until(lambda: client.hlen(KEYS.file_versions("code")) >= 3, 120, "indexed")
            wait_until(
                lambda: "auth/login.py" in ask("authenticate the user by password"), 60, "context"
            )
            (source / "new.py").write_text("def flamingo_census(lagoon):\n    return 3\n")
            ask.until("count flamingo census in the lagoon", lambda found: "new.py" in found)

            (source / "new.py").write_text("def walrus_census(iceberg):\n    return 4\n")
            ask.until(
                "count walrus census on the iceberg",
                lambda found: "walrus_census" in found.get("new.py", ""),
            )
            (source / "moved").mkdir()
            (source / "zebra.py").rename(source / "moved" / "zebra.py")
            ask.until(
                "stripes of zebra in the herd",
                lambda found: "moved/zebra.py" in found and "zebra.py" not in found,
            )
            (source / "new.py").unlink()
            ask.until("count walrus census on the iceberg", lambda found: "new.py" not in found)

            assert [terminate(each) for each in (worker, indexer)] == [0, 0]
