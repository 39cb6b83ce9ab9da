"""How fast a tree is listed, read and cut, how soon a saved file is published, how a build runs.

python -m bench.indexer SOURCE [--build]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.build import build_store
from indexer.chunk import chunk_file
from indexer.scan import Rules, Tree
from indexer.watch import watch
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.messages import FileChange


def measure_tree(source: Path) -> None:
    tree = Tree(source, Rules())
    begun = time.perf_counter()
    paths = [path for path, _ in tree.files()]
    listed = time.perf_counter()
    contents = [(path, content) for path in paths if (content := tree.read(path))]
    read = time.perf_counter()
    chunks = [chunk for path, content in contents for chunk in chunk_file(path, content.text)]
    cut = time.perf_counter()
    size = sum(len(content.text) for _, content in contents)
    print(f"listed   {len(paths)} files at {len(paths) / (listed - begun):,.0f}/s")
    print(f"read     {len(contents)} of them at {len(paths) / (read - listed):,.0f}/s")
    print(
        f"cut      {len(chunks)} chunks of {size / max(1, len(chunks)):.0f} characters at "
        f"{60 * len(contents) / (cut - read):,.0f} files/min, {size / (cut - read) / 1e6:.1f} MB/s"
    )


def measure_watch(saves: int = 50) -> None:
    """Time from a save to the call that would append it to the stream."""
    seen, ready, stop = threading.Event(), threading.Event(), threading.Event()

    def publish(_changes: Sequence[FileChange]) -> None:
        seen.set()

    with tempfile.TemporaryDirectory() as folder:
        thread = threading.Thread(
            target=watch, args=(Path(folder), publish, stop), kwargs={"ready": ready.set}
        )
        thread.start()
        ready.wait()
        taken = []
        for number in range(saves):
            seen.clear()
            begun = time.perf_counter()
            (Path(folder) / "file.py").write_text(f"x = {number}\n")
            seen.wait()
            taken.append(1000 * (time.perf_counter() - begun))
            time.sleep(0.1)  # a new burst, not more of the last one
        stop.set()
        thread.join()
    print(f"publish  p50 {statistics.median(taken):.0f} ms, worst of {saves} {max(taken):.0f} ms")


def measure_build(source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = build_store(source, Path(folder), open_encoder())
    rate = report.chunks / report.seconds
    print(f"build    {report.files} files, {report.chunks} chunks at {rate:.0f} chunks/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--build", action="store_true", help="also build a store, with the encoder")
    arguments = parser.parse_args()
    measure_tree(arguments.source)
    measure_watch()
    if arguments.build:
        measure_build(arguments.source)


if __name__ == "__main__":
    main()
