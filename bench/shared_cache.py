"""Whether asking Redis for embeddings pays: chunks of a directory, encoded, recalled and kept.

`python -m bench.shared_cache DIR [--rounds N] [--json]`, with OMP_NUM_THREADS=1. Batches are those
of an indexer; the server is the embedded one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import show, table
from indexer.chunk import chunk_file
from indexer.encoding import ENCODED_AT_ONCE
from indexer.scan import Rules, Tree
from streams.connect import connect
from streams.keys import Keys
from vectors.encoder import open_encoder
from vectors.shared_cache import SharedEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 100_000


def texts_of(directory: Path) -> list[str]:
    tree = Tree(directory.resolve(), Rules())
    contents = [(path, tree.read(path)) for path, _ in tree.files()]
    chunks = [chunk for path, each in contents if each for chunk in chunk_file(path, each.text)]
    return list(dict.fromkeys(chunk.embedded_text for chunk in chunks))


def milliseconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = texts_of(options.directory)
    random.Random(0).shuffle(texts)
    bare = open_encoder(side="passage")
    alone, first, later = [], [], []
    with tempfile.TemporaryDirectory() as data, connect(data_dir=Path(data)) as client:
        for number in range(options.rounds):
            start = number * ENCODED_AT_ONCE % max(1, len(texts) - ENCODED_AT_ONCE)
            batch = texts[start : start + ENCODED_AT_ONCE]
            client.delete(*Keys().embeddings)
            one, other = (SharedEncoder(bare, client, Keys().embeddings, MOST) for _ in range(2))
            alone.append(milliseconds(partial(bare.encode, batch)))
            first.append(milliseconds(partial(one.encode, batch)))
            later.append(milliseconds(partial(other.encode, batch)))
    figures = {
        "texts": len(texts),
        "batch": ENCODED_AT_ONCE,
        "encoded_ms": statistics.median(alone),
        "encoded_and_kept_ms": statistics.median(first),
        "recalled_ms": statistics.median(later),
    }
    rows = [[name, f"{value:,.2f}".removesuffix(".00")] for name, value in figures.items()]
    show(figures, table(("embeddings shared through Redis", ""), rows), as_json=options.json)


if __name__ == "__main__":
    main()
