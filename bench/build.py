"""How near the rate of a whole build comes to that of the bare encoder, on the same texts.

`python -m bench.build SOURCE... [--chunks N] [--threads N] [--json]`. The sources are copied into
one tree until it holds N chunks. The bare encoder embeds the texts in slices, from the shortest to
the longest, which suits it best; the build begins with an empty cache and ends with a snapshot.
Parts of the two alternate: whatever else the machine does slows down both. `cpu_ratio` compares
seconds of CPU instead, which is steadier where others use the machine too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import show, table
from indexer.build import build_store
from indexer.chunk import chunk_file
from indexer.encoding import ENCODED_AT_ONCE, Progress
from indexer.scan import Rules, Tree
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vectors.types import Encoder

QUARTERS = (0.25, 0.5, 0.75)
PARTS = 8


def gather(sources: Sequence[Path], target: Path, chunks: int) -> list[str]:
    """Copy files until they hold so many chunks; returns the texts of the chunks."""
    texts: list[str] = []
    for source in sources:
        tree = Tree(source.resolve(), Rules())
        for path, _ in tree.files():
            content = tree.read(path)
            if content is None:
                continue
            if len(texts) >= chunks:
                return texts
            copy = target / source.name / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, copy)
            texts += [chunk.embedded_text for chunk in chunk_file(path, content.text)]
    return texts


class Gated:
    """An `Encoder` that can be held up between two calls."""

    def __init__(self, encoder: Encoder) -> None:
        self.identity, self.dim = encoder.identity, encoder.dim
        self._encoder = encoder
        self._inside = 0
        self._closed = False
        self._changed = threading.Condition()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            return self._encoder.encode(texts)
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def held_up(self) -> Iterator[None]:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._inside)
        yield
        with self._changed:
            self._closed = False
            self._changed.notify_all()


@dataclass
class Alternating:
    """Runs the next part of the bare encoder's work whenever the build has done a part of its own.

    Attributes:
        bare_seconds: the bare encoder took so far; not counted as the build's.
        bare_cpu: seconds of CPU that it took.
        told: progress of the build, by its own clock.
    """

    bare: Iterator[None]
    build: Gated
    bare_seconds: float = 0.0
    bare_cpu: float = 0.0
    told: list[Progress] = field(default_factory=list)
    _parts: int = 0

    def __call__(self, now: Progress) -> None:
        self.told.append(Progress(now.texts, now.total, now.seconds - self.bare_seconds))
        if now.texts * PARTS >= now.total * self._parts:
            self._parts += 1
            with self.build.held_up():
                begun, cpu = time.perf_counter(), time.process_time()
                next(self.bare, None)
                self.bare_seconds += time.perf_counter() - begun
                self.bare_cpu += time.process_time() - cpu


def bare_parts(texts: Sequence[str], encoder: Encoder, threads: int) -> Iterator[None]:
    """Encode texts, each part a like sample of all lengths."""
    for part in range(PARTS):
        mine = sorted(texts, key=len)[part::PARTS]
        slices = [mine[at : at + ENCODED_AT_ONCE] for at in range(0, len(mine), ENCODED_AT_ONCE)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(encoder.encode, slices))
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    encoder = open_encoder(threads=options.threads)
    with tempfile.TemporaryDirectory(prefix="cortex-bench-") as folder:
        tree, store = Path(folder, "tree"), Path(folder, "store")
        texts = gather(options.sources, tree, options.chunks)
        encoder.encode(texts[:ENCODED_AT_ONCE])
        unique = list(dict.fromkeys(texts))
        gated = Gated(encoder)
        alternating = Alternating(bare_parts(unique, encoder, options.threads), gated)
        cached = CachedEncoder(gated, Path(folder, "embeddings.sqlite"))
        begun, cpu = time.perf_counter(), time.process_time()
        report = build_store(tree, store, cached, parallel=options.threads, progress=alternating)
        seconds = time.perf_counter() - begun - alternating.bare_seconds
        build_cpu = time.process_time() - cpu - alternating.bare_cpu
    figures = {
        "files": report.files,
        "chunks": report.chunks,
        "texts": len(unique),
        "threads": options.threads,
        "bare_texts_s": len(unique) / alternating.bare_seconds,
        "build_texts_s": len(unique) / seconds,
        "ratio": alternating.bare_seconds / seconds,
        "cpu_ratio": alternating.bare_cpu / build_cpu,
        "build_s": seconds,
    }
    rows = [[name, f"{value:,.2f}".removesuffix(".00")] for name, value in figures.items()]
    for quarter in QUARTERS:
        at = next(each for each in alternating.told if each.texts >= quarter * each.total)
        left, said = seconds - at.seconds, at.seconds_left or 0.0
        figures[f"said_left_at_{quarter:.0%}"] = said
        figures[f"was_left_at_{quarter:.0%}"] = left
        rows.append([f"time left said at {quarter:.0%}, s", f"{said:.1f} ({said / left - 1:+.1%})"])
    show(figures, table(("a first build", ""), rows), as_json=options.json)


if __name__ == "__main__":
    main()
