"""What search, memory, start, snapshots and freshness cost at up to a million chunks.

`python -m bench.scale --from STORE... [--chunks N...] [--store DIR] [--json]`. The stores it takes
chunks from are real ones, of 80,000 chunks and more in all (`bench.scale_store` says how they are
resampled): `cortex index build --source DIR --output STORE`, as DIR any installed packages, say
`.venv/lib/python3.11/site-packages/torch`. Made stores are kept in `--store` and used again.

Workers and the indexer are processes on a server of their own. A file counts as saved when the
indexer is told of it; the encoder's time is included, the watcher's is not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import redis

from bench.report import show, table
from bench.scale_store import LEAST_REAL, NAME, make_store
from bench.server import server
from contracts.messages import FileChange
from indexer.apply import Indexer
from indexer.commit import Ledger
from indexer.scan import Rules
from indexer.snapshots import Snapshots
from streams.keys import Keys
from vectors.collection import Collection
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.manifest import list_collections, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

WORKERS = 3
PATIENCE_S = 1_200.0
DEPTH, K = 100, 10
SYLLABLES = ("ba", "ko", "ri", "mu", "ze", "fa", "lo", "ti", "pu", "ge")
REPOSITORY = Path(__file__).parent.parent


class Process:
    """A `bench.scale_worker`."""

    def __init__(self, url: str, store: Path) -> None:
        command = [sys.executable, "-m", "bench.scale_worker", url, str(store)]
        pipe = subprocess.PIPE
        self.begun = time.monotonic()
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def ask(self, do: str, **about: object) -> None:
        assert self.process.stdin is not None
        print(json.dumps({"do": do, **about}), file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def subjects(repository: Path, count: int) -> list[str]:
    """What real commits say they do."""
    command = ["git", "-C", str(repository), "log", "--no-merges", "--format=%s", f"-{count}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line for line in said.splitlines() if len(line.split()) > 2]


def dense(store: Path, questions: NDArray[np.float32]) -> dict[str, float]:
    """Search the vectors of a base, and compare with an exact search."""
    (base, _) = Collection.open(store, NAME).freeze().segments
    taken, found = [], []
    for question in questions:
        begun = time.perf_counter()
        found.append(base.nearest(question[np.newaxis], DEPTH).ids[0, :K])
        taken.append(1e3 * (time.perf_counter() - begun))
    truth = exact(base.vectors, len(base.alive), questions)
    hits = sum(len(np.intersect1d(*pair)) for pair in zip(found, truth, strict=True))
    return {**percentiles("dense", taken), "recall_at_10": hits / truth.size}


def exact(vectors: Any, size: int, questions: NDArray[np.float32]) -> NDArray[np.int64]:  # noqa: ANN401 - a bound method
    """Ids of the nearest chunks of each question by all vectors, shape (n, K)."""
    scores = np.full((len(questions), K), -np.inf, np.float32)
    ids = np.zeros((len(questions), K), np.int64)
    for start in range(0, size, 16_384):
        here = np.arange(start, min(start + 16_384, size))
        every = np.concatenate([scores, questions @ vectors(here).T], axis=1)
        known = np.concatenate([ids, np.tile(here, (len(questions), 1))], axis=1)
        best = np.argpartition(-every, K, axis=1)[:, :K]
        scores = np.take_along_axis(every, best, axis=1)
        ids = np.take_along_axis(known, best, axis=1)
    return ids


def percentiles(name: str, values: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, (50, 99)).tolist()
    return {f"{name}_p50": p50, f"{name}_p99": p99}


@contextmanager
def indexer(url: str, store: Path, root: Path) -> Iterator[tuple[Indexer, Snapshots]]:
    client, keys = redis.Redis.from_url(url), Keys()
    encoder = CachedEncoder(open_encoder(), None)
    ledger = Ledger(client, keys, store, NAME, encoder)
    snapshots = Snapshots(client, keys, ledger, store, every_chunks=1)
    yield Indexer(root, Rules(), ledger, encoder), snapshots
    client.close()


def measure(store: Path, texts: list[str], rounds: int) -> dict[str, float]:
    """Everything about one store; it is changed, so a copy of it is."""
    figures = dense(store, open_encoder().encode(texts))
    with ExitStack() as stack:
        url = stack.enter_context(server())
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cortex-bench-")))
        workers = []
        for _ in range(WORKERS):
            workers.append(Process(url, store))
            stack.callback(workers[-1].close)
            workers[-1].ask("search", queries=texts[:1])
            figures["first_answer_s"] = workers[-1].answer()["at"] - workers[-1].begun
            workers[-1].ask("search", queries=texts)
            answer = workers[-1].answer()
            if workers[1:]:
                figures["added_private_mb"] = answer["private_mb"]
                figures["added_pss_mb"] = answer["pss_mb"]
        workers[0].ask("search", queries=texts)
        figures |= percentiles("search", workers[0].answer()["ms"])
        writing, snapshots = stack.enter_context(indexer(url, store, root))
        seconds = [freshness(writing, workers, root) for _ in range(rounds + 1)][1:]
        figures |= percentiles("fresh_ms", [1e3 * each for each in seconds])
        figures |= pauses(snapshots, workers, texts)
    return figures


def freshness(writing: Indexer, workers: Sequence[Process], root: Path) -> float:
    """Seconds from a save to the last worker's finding it."""
    word = "".join(random.choices(SYLLABLES, k=5))
    path = f"edited_{random.randrange(8)}.py"
    lines = (REPOSITORY / "vectors" / "types.py").read_text()
    text = f"{lines}\n\ndef calibrate_{word}():\n    return 'how the {word} is calibrated'\n"
    for worker in workers:
        worker.ask("until", query=f"how the {word} is calibrated", path=path, word=word)
    time.sleep(random.uniform(0.1, 0.3))  # meet the workers at any point of their loops
    begun = time.monotonic()
    (root / path).write_text(text)
    list(writing.apply([FileChange(op="put", path=path, collection=NAME)]))
    found: list[float] = [worker.answer()["at"] for worker in workers]
    return max(found) - begun


def pauses(snapshots: Snapshots, workers: Sequence[Process], texts: list[str]) -> dict[str, float]:
    """The longest search of a worker without any writing, and while a snapshot is written."""
    (searching, *_) = workers
    quiet_s = 5.0
    searching.ask("patrol", queries=texts, seconds=quiet_s)
    quiet = searching.answer()["ms"]
    begun = time.monotonic()
    searching.ask("patrol", queries=texts, seconds=PATIENCE_S)
    written = snapshots.write_if_due()
    while not written and time.monotonic() - begun < PATIENCE_S:
        time.sleep(0.1)
        written = snapshots.write_if_due()
    took = time.monotonic() - begun
    answer = searching.answer()
    if not written or len(answer["snapshots"]) < 2:
        raise TimeoutError(f"no snapshot was taken over within {PATIENCE_S:.0f} s")
    return {
        "snapshot_s": took,
        "longest_search_ms": max(answer["ms"]),
        "longest_search_without_ms": max(quiet),
        **percentiles("search_meanwhile", answer["ms"]),
    }


def prepared(sources: Sequence[Path], kept: Path, count: int) -> Path:
    store = kept / f"resampled_{count}"
    if NAME not in list_collections(store):
        real = [read_manifest(source, NAME) for source in sources]
        if sum(info.chunks for info in real if info) < LEAST_REAL:
            raise SystemExit(f"--from needs stores of {LEAST_REAL:,} chunks or more in all")
        make_store(sources, store, count)
    return store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="sources", type=Path, nargs="*", default=[], metavar="STORE")
    parser.add_argument("--chunks", type=int, nargs="+", default=[20_000, 100_000, 1_000_000])
    parser.add_argument("--store", type=Path, default=Path(".cortex/scale"), metavar="DIR")
    parser.add_argument("--questions", type=Path, default=REPOSITORY, metavar="REPO",
                        help="its commit subjects are asked")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = subjects(options.questions, 300)
    figures: dict[int, dict[str, float]] = {}
    for count in options.chunks:
        store = prepared(options.sources, options.store, count)
        with tempfile.TemporaryDirectory(prefix="scale-", dir=options.store) as copy:
            shutil.copytree(store, copy, dirs_exist_ok=True)
            figures[count] = measure(Path(copy), texts, options.rounds)
    rows = [
        (
            name,
            *(f"{of[name]:.3f}" if of[name] < 1 else f"{of[name]:.1f}" for of in figures.values()),
        )
        for name in figures[options.chunks[0]]
    ]
    ratio = figures[options.chunks[-1]]["fresh_ms_p50"] / figures[options.chunks[0]]["fresh_ms_p50"]
    rows.append(("freshness, last : first", *[""] * (len(figures) - 1), f"{ratio:.2f}"))
    header = ("", *(f"{count:,} chunks" for count in figures))
    show({str(count): of for count, of in figures.items()}, table(header, rows),
         as_json=options.json)  # fmt: skip


if __name__ == "__main__":
    main()
