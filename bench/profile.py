"""A worker that says what its CPU time went to: `python -m bench.profile REPORT`.

Runs `cortex worker` and writes, when it ends, the CPU seconds of the process once it was warm and
those of them spent in the encoder, on whatever thread it ran.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from vectors.openvino_encoder import OpenVINOEncoder
from worker.app import main as run_worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

# Texts. Kernels are compiled for every new shape of a batch; what a word or a piece of past work
# says is looked up on the disk the first time.
_WARM_UP = 1_000


class Meter:
    """Counts the encoder's CPU time, and the process's from when it is warm."""

    def __init__(self) -> None:
        self.met = 0
        self.texts = 0  # of them when it was warm
        self.encoding = 0.0
        self.since = time.process_time()
        self._encode = OpenVINOEncoder.encode

    def encode(self, encoder: OpenVINOEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.met < _WARM_UP:
            self.since, self.encoding, self.texts = time.process_time(), 0.0, 0
        begun = time.thread_time()
        try:
            return self._encode(encoder, texts)
        finally:
            self.encoding += time.thread_time() - begun
            self.met += len(texts)
            self.texts += len(texts)


def main() -> None:
    meter = Meter()

    def encode(encoder: OpenVINOEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
        return meter.encode(encoder, texts)

    with mock.patch.object(OpenVINOEncoder, "encode", encode):
        code = run_worker()
    used = time.process_time() - meter.since
    figures = {"cpu_s": used, "encoding_s": meter.encoding, "texts": meter.texts}
    Path(sys.argv[1]).write_text(json.dumps(figures))
    sys.exit(code)


if __name__ == "__main__":
    main()
