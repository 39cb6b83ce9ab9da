"""A process that searches a collection and follows its log, as workers do: `bench.scale` asks it.

It takes one JSON line and gives one. Times are of CLOCK_MONOTONIC, which all processes share.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import redis

from bench.scale_store import NAME
from contracts.errors import TransientError
from streams.keys import Keys
from vectors.collection import Collection
from vectors.encoder import open_encoder
from vectors.follow import Follower

_RESULTS = 5
_SEEN = 20  # every file of a resampled store is there seven times
_ASK_EVERY_S = 0.02  # leaves the machine to what is measured
_LEAST_PAUSE_S = 0.002
_AFTERWARDS_S = 2.0
_RETRY_S = 0.5


def memory() -> dict[str, float]:
    """MB of this process: its proportional share, and what is its own."""
    rows = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
    kilobytes = {row[0].rstrip(":"): int(row[1]) for row in rows}
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"pss_mb": kilobytes["Pss"] / 1e3, "private_mb": private / 1e3}


class Worker:
    def __init__(self, url: str, store: str) -> None:
        self._encoder = open_encoder()
        self._collection = Collection.open(Path(store), NAME, embedder=self._encoder.identity)
        client = redis.Redis.from_url(url)
        follower = Follower(client, self._collection, Path(store), Keys().vectors(NAME))
        threading.Thread(target=self._follow, args=(follower,), daemon=True).start()

    def search(self, queries: list[str]) -> dict[str, Any]:
        """Milliseconds of each search, without embedding."""
        vectors = self._encoder.encode(queries)
        taken = []
        for query, vector in zip(queries, vectors, strict=True):
            begun = time.perf_counter()
            self._collection.search(query, vector, _RESULTS)
            taken.append(1e3 * (time.perf_counter() - begun))
        return {"ms": taken, "at": time.monotonic(), **memory()}

    def until(self, query: str, path: str, word: str) -> dict[str, Any]:
        """Ask until a chunk of a file with a word in it is found."""
        vector = self._encoder.encode([query])[0]
        while True:
            for hit in self._collection.search(query, vector, _SEEN):
                if hit.path == path and word in hit.text:
                    return {"at": time.monotonic()}
            time.sleep(_ASK_EVERY_S)

    def patrol(self, queries: list[str], seconds: float) -> dict[str, Any]:
        """Search again and again, until two seconds after another snapshot was taken over.

        Says how long each search took and which snapshots were seen.
        """
        vectors = self._encoder.encode(queries)
        deadline = time.monotonic() + seconds
        taken: list[float] = []
        seen: list[str] = []
        swapped = False
        while time.monotonic() < deadline:
            row = len(taken) % len(queries)
            begun = time.perf_counter()
            self._collection.search(queries[row], vectors[row], _RESULTS)
            taken.append(1e3 * (time.perf_counter() - begun))
            seen.append(self._collection.generation.partition("+")[0])
            if seen[-1] != seen[0] and not swapped:
                swapped, deadline = True, time.monotonic() + _AFTERWARDS_S
            time.sleep(_LEAST_PAUSE_S)
        return {"ms": taken, "snapshots": list(dict.fromkeys(seen))}

    @staticmethod
    def _follow(follower: Follower) -> None:
        while True:
            try:
                follower.poll(block_ms=500)
            except TransientError as error:  # a worker goes on, too
                print(error, file=sys.stderr, flush=True)
                time.sleep(_RETRY_S)


def main() -> None:
    worker = Worker(*sys.argv[1:])
    gc.collect()
    gc.freeze()  # as `worker.app` does
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(worker, asked.pop("do"))(**asked)), flush=True)


if __name__ == "__main__":
    main()
