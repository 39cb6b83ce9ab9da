"""Vector store: search latency, cost of a change, of a snapshot and of opening one.

Run: python bench/vectors.py DIR [--chunks N ...] -- DIR holds source files to cut into chunks.
Vectors are random; what they cost does not depend on what they mean.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from vectors.collection import Collection
from vectors.snapshot import write_snapshot
from vectors.types import Chunk, FileDelta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIM = 384
QUERIES = (
    "Fix the authentication bug in the login session handler",
    "Add a timeout option to the http connection pool",
    "Handle unicode decode errors when reading config files",
    "Speed up sparse matrix multiplication for large inputs",
    "Return a copy of the array instead of a view",
    "Support retry on connection reset in the client",
    "Document the default value of the parser argument",
    "Raise a clear error when the file is missing",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--chunks", type=int, nargs="*", default=[1_000, 20_000])
    arguments = parser.parse_args()
    for count in arguments.chunks:
        measure(arguments.directory, count)


def measure(directory: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    files = list(sources(directory, count, rng))
    chunks = sum(len(entry.chunks) for entry in files)
    collection = Collection.empty("code", DIM, "bench")
    print(f"\n{chunks:,} chunks of {len(files):,} files")
    report("apply, per chunk", [took(lambda: [collection.apply(f) for f in files]) / chunks])
    search_all("search, all in the delta", collection, rng)
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        report("write a snapshot", [took(lambda: write_snapshot(collection, store, token=1))])
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        print(f"{'size on disk':34} {size / 1e6:9.1f} MB")
        report("open", [took(lambda: Collection.open(store, "code"))])
        opened = Collection.open(store, "code")
        search_all("search, all in the base", opened, rng)
        for entry in files[: len(files) // 20]:
            newer = FileDelta(
                path=entry.path,
                version=2,
                content_hash="2",
                chunks=entry.chunks,
                vectors=entry.vectors,
            )
            opened.apply(newer)
        search_all("search, one file in 20 replaced", opened, rng)
        search_all("search, by words alone", opened, None)
        long = " ".join(chunk.text for entry in files[:40] for chunk in entry.chunks)[:8192]
        times = [took(lambda: opened.search(long, unit(rng), 5)) for _ in range(20)]
        report("search, 8,192 characters", times)
        batch = np.stack([unit(rng) for _ in range(32)])
        texts = [QUERIES[at % len(QUERIES)] for at in range(32)]
        times = [took(lambda: opened.search_batch(texts, batch, 5)) / 32 for _ in range(5)]
        report("search in batches of 32, each", times)


def search_all(label: str, collection: Collection, rng: np.random.Generator | None) -> None:
    times = []
    for _ in range(15):
        for query in QUERIES:
            vector = None if rng is None else unit(rng)
            times.append(took(lambda q=query, v=vector: collection.search(q, v, 5)))
    report(label, times)


def sources(directory: Path, count: int, rng: np.random.Generator) -> Iterator[FileDelta]:
    paths = sorted(directory.rglob("*.py"))
    rng.shuffle(paths)
    left = count
    for path in paths:
        if left <= 0:
            return
        text = path.read_text(errors="replace")
        pieces = (text[at : at + 800] for at in range(0, len(text), 800))
        chunks = [
            Chunk(start_line=1 + at, end_line=2 + at, kind="code", text=piece)
            for at, piece in enumerate(islice(pieces, min(left, 40)))
        ]
        left -= len(chunks)
        vectors = b"".join(unit(rng).astype("<f2").tobytes() for _ in chunks)
        name = path.relative_to(directory).as_posix()
        yield FileDelta(path=name, version=1, content_hash="1", chunks=chunks, vectors=vectors)


def unit(rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = rng.standard_normal(DIM, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def took(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report(label: str, seconds: list[float]) -> None:
    p50, most = statistics.median(seconds) * 1e3, max(seconds) * 1e3
    print(f"{label:34} p50 {p50:9.3f} ms  max {most:9.3f} ms  n {len(seconds)}")


if __name__ == "__main__":
    main()
