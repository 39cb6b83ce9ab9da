"""The encoder and nothing else: `python -m bench.bare_encoder TEXTS N` prints texts/s.

TEXTS is a JSON list; N of them are encoded in batches as a worker makes them, on one thread.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from vectors.encoder import open_encoder
from worker.embedding import slices


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text())[: int(sys.argv[2])]
    encoder = open_encoder()
    for part in slices(
        len(texts) // 8
    ):  # kernels are compiled for every shape met for the first time
        encoder.encode(texts[part])
    begun = time.perf_counter()
    for part in slices(len(texts)):
        encoder.encode(texts[part])
    print(len(texts) / (time.perf_counter() - begun))


if __name__ == "__main__":
    main()
