"""How soon a running worker's decisions and the index say what the files say.

`python -m bench.freshness [--rounds N] [--checkout FILES] [--json]`. The processes are those of a
deployment: `cortex watch`, `cortex indexer` and `cortex worker` on the embedded server, with the
real encoder. First single files change in a copy of this repository's sources; then `git checkout`
switches a generated repository to a branch in which FILES or more files differ, and back.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contenders import Contender
from bench.contents import Contents, contents, rebuilt
from bench.generated import MAIN, OTHER, git, make_repository
from bench.process import running
from bench.report import show, table
from bench.workload import MASTERS
from contracts.parse import parse_decision
from indexer.backlog import words_only
from indexer.scan import Rules, Tree
from streams.connect import connect
from streams.keys import Keys
from vectors.collection import Collection
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.follow import Follower
from vectors.log import current_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from contracts.messages import ContextItem

REPOSITORY = Path(__file__).parent.parent
KEYS = Keys()
PATIENCE_S = 600.0
PATIENCE_MS = 5_000
ASK_EVERY_S = 0.005  # leaves the machine to the system that is measured
TARGET_S = 1.0
SYLLABLES = ("ba", "ko", "ri", "mu", "ze", "fa", "lo", "ti", "pu", "ge")


class NotWithinPatienceError(Exception):
    """Something that had to happen did not."""


class DegradedError(Exception):
    """A worker had no live index to answer from."""


@contextmanager
def system(home: Path, source: Path, *programs: str) -> Iterator[Redis]:
    """Run programs over a directory until the block ends; their data lies in `home`."""
    data = home / ".cortex"
    environment = {"CORTEX_DATA_DIR": str(data), "CORTEX_ROOT": str(source)}
    with connect(data_dir=data) as client, ExitStack() as stack:
        url = f"unix://{data / 'redis.sock'}"
        for name in programs:
            arguments = (name, str(source)) if name == "watch" else (name,)
            program = ("-m", "ops.cli", *arguments)
            log = stack.enter_context((home / f"{name}.log").open("w"))
            stack.enter_context(running(Contender(name, (), program, 0, environment), url, log))
        yield client


def wait_until(condition: Callable[[], bool], what: str, pause_s: float = 0.05) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise NotWithinPatienceError(what)
        time.sleep(pause_s)


@dataclass
class Asker:
    """Submits tasks and reads the decisions from the masters' queues, as masters do."""

    client: Redis
    asked: int = 0
    positions: dict[Any, Any] = field(
        default_factory=lambda: {KEYS.master(name): "0" for name in MASTERS}
    )

    def context(self, description: str) -> list[ContextItem]:
        """Places the answer names. One given without a live index is none at all."""
        task_id, self.asked = f"ask-{self.asked}", self.asked + 1
        self.client.xadd(KEYS.tasks, {"task_id": task_id, "description": description})
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            reply: Any = self.client.xread(self.positions, block=PATIENCE_MS)
            for stream, entries in reply.items() if isinstance(reply, dict) else reply or ():
                self.positions[stream.decode()] = entries[-1][0]
                for _, fields in entries:
                    if fields[b"task_id"].decode() == task_id:
                        decision = parse_decision(fields[b"decision"])
                        if decision.context_status not in ("ok", "empty"):
                            raise DegradedError(decision.context_status)
                        return decision.context
        raise NotWithinPatienceError(task_id)

    def seconds_until(self, word: str, holds: Callable[[list[ContextItem]], bool]) -> float:
        begun = time.perf_counter()
        wait_until(
            lambda: holds(self.context(f"calibrate the {word} procedure")), word, ASK_EVERY_S
        )
        return time.perf_counter() - begun


def copy_sources(target: Path) -> list[Path]:
    copied = []
    for path, _ in Tree(REPOSITORY, Rules()).files():
        copied.append(target / path)
        copied[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, copied[-1])
    return copied


def text_about(word: str) -> str:
    return f"\n\ndef calibrate_{word}_procedure():\n    return 'how the {word} is calibrated'\n"


def measure_round(ask: Asker, source: Path, edited: Path) -> dict[str, float]:
    """Edit a source file; make, move and delete another one."""
    word, new_word = ("".join(random.choices(SYLLABLES, k=5)) for _ in range(2))
    before, after = source / f"{new_word}.py", source / "streams" / f"{new_word}_moved.py"

    def at(path: Path) -> Callable[[list[ContextItem]], bool]:
        name = path.relative_to(source).as_posix()
        return lambda found: any(item.path == name for item in found)

    def settle() -> None:
        time.sleep(random.uniform(0.1, 0.4))  # meet the processes at any point of their loops

    seconds = {}
    settle()
    with edited.open("a") as file:
        file.write(text_about(word))
    seconds["edit"] = ask.seconds_until(
        word, lambda found: any(f"calibrate_{word}" in str(item.text) for item in found)
    )
    settle()
    before.write_text(text_about(new_word))
    seconds["new file"] = ask.seconds_until(new_word, at(before))
    settle()
    before.rename(after)
    seconds["move"] = ask.seconds_until(
        new_word, lambda found: at(after)(found) and not at(before)(found)
    )
    settle()
    after.unlink()
    seconds["delete"] = ask.seconds_until(new_word, lambda found: not at(after)(found))
    return seconds


def measure_saves(home: Path, rounds: int) -> dict[str, dict[str, float]]:
    source = home / "source"
    python = [path for path in copy_sources(source) if path.suffix == ".py"]
    with system(home, source, "indexer", "watch", "worker") as client:
        expected = {path for path, _ in Tree(source, Rules()).files()}
        wait_until(lambda: expected <= embedded_files(client), "the first index")
        ask = Asker(client)
        measured = [measure_round(ask, source, random.choice(python)) for _ in range(rounds + 1)]
    figures: dict[str, dict[str, float]] = {}
    for kind in measured[0]:
        seconds = [each[kind] for each in measured[1:]]  # the first one warms up
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        figures[kind] = {"p50_s": cuts[49], "p99_s": cuts[98], "worst_s": max(seconds)}
    return figures


@dataclass
class LiveIndex:
    """The index as a worker sees it: its snapshot, and what the log says since."""

    follower: Follower

    def seconds_until_equal(self, wanted: Contents) -> float:
        hashes = {path: content_hash for path, (content_hash, _) in wanted.items()}
        seconds = self._seconds_until(hashes, lambda content_hash: content_hash)
        if contents(self.follower.collection) != wanted:
            raise AssertionError("equal hashes, but chunks or vectors differ")
        return seconds

    def seconds_until_words(self, wanted: Contents) -> float:
        """Until every text is found by its words at least."""
        hashes = {path: content_hash for path, (content_hash, _) in wanted.items()}
        return self._seconds_until(hashes, lambda found: found.removeprefix(words_only("")))

    def _seconds_until(self, hashes: dict[str, str], reading: Callable[[str], str]) -> float:
        begun = time.perf_counter()

        def level() -> bool:
            while self.follower.poll():
                pass
            files = self.follower.collection.files()
            return {path: reading(state.content_hash) for path, state in files.items()} == hashes

        wait_until(level, "the index equals a rebuild", pause_s=0.01)
        return time.perf_counter() - begun


def measure_checkout(home: Path, changed: int) -> dict[str, dict[str, float]]:
    source, data = home / "repository", home / ".cortex"
    differing = make_repository(source, changed)
    encoder = CachedEncoder(open_encoder(), None)  # nothing shared with the indexer
    wanted = {
        branch: rebuilt(source, branch, home / "rebuilt" / branch, encoder)
        for branch in (OTHER, MAIN)
    }
    figures = {}
    with system(home, source, "indexer", "watch", "worker") as client:
        collection = Collection.empty("code", encoder.dim, encoder.identity)
        live = LiveIndex(Follower(client, collection, data / "store", KEYS.vectors("code")))
        live.seconds_until_equal(wanted[MAIN])
        for name, branch in (("checkout", OTHER), ("and back", MAIN)):
            embedded = embedded_texts(data)
            begun = time.perf_counter()
            git(source, "checkout", "--quiet", branch)
            switched = time.perf_counter() - begun
            live.seconds_until_equal(wanted[branch])
            figures[name] = {
                "files": float(differing),
                "git_s": switched,
                "equal_s": time.perf_counter() - begun,
                "embedded": float(embedded_texts(data) - embedded),
            }
    return figures


def embedded_files(client: Redis) -> set[str]:
    """Files that are there with their vectors."""
    states = current_versions(client, KEYS.file_versions("code"))
    words = words_only("")
    return {path for path, each in states.items() if not each.content_hash.startswith(words)}


def embedded_texts(data: Path) -> int:
    """Texts the indexer has had to encode so far."""
    connection = sqlite3.connect(data / "embeddings.sqlite", timeout=10)
    try:
        return int(connection.execute("SELECT count(*) FROM embedding").fetchone()[0])
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--checkout", type=int, default=2_000, metavar="FILES")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cortex-bench-") as home:
        saves = measure_saves(Path(home), options.rounds)
    with tempfile.TemporaryDirectory(prefix="cortex-bench-") as home:
        switches = measure_checkout(Path(home), options.checkout)
    markdown = table(
        (f"save → decision, {options.rounds} rounds", "p50, s", "p99, s", "worst, s", "p99 target"),
        [
            (kind, *(f"{value:.2f}" for value in figures.values()), f"< {TARGET_S:g}")
            for kind, figures in saves.items()
        ],
    )
    markdown += "\n\n" + table(
        ("git checkout", "files changed", "git, s", "until equal to a rebuild, s", "embedded"),
        [
            (
                name,
                f"{of['files']:,.0f}",
                f"{of['git_s']:.2f}",
                f"{of['equal_s']:.1f}",
                f"{of['embedded']:,.0f}",
            )
            for name, of in switches.items()
        ],
    )
    show({"saves": saves, "checkout": switches}, markdown, as_json=options.json)


if __name__ == "__main__":
    main()
