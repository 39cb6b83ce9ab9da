"""How fast and how faithful each way of running all-MiniLM-L6-v2 is, as ratios within one run.

    python -m bench.encoder [--onnx]

`--onnx` also measures ONNX Runtime's dynamic int8; it needs onnx, onnxscript and onnxruntime.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vectors import exported
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Encode = Callable[[Sequence[str]], NDArray[np.float32]]

SHAPES = ((1, 16), (32, 16), (1, 128), (32, 128))
ROUNDS, SECONDS = 5, 0.3
WORDS = (
    "fix",
    "queue",
    "user",
    "error",
    "table",
    "port",
    "cache",
    "test",
    "server",
    "page",
)  # one token each

LOADING = """
import time
from pathlib import Path
began = time.process_time()
from vectors.encoder import open_encoder
encoder = open_encoder(backend={backend!r})
encoder.encode(["ready"])
status = Path("/proc/self/status").read_text()
print(time.process_time() - began, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def rate(encode: Encode, texts: list[str]) -> float:
    encode(texts)
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        encode(texts)
        calls += 1
    return calls * len(texts) / (time.perf_counter() - began)


def changed_by_company(encode: Encode, texts: list[str]) -> int:
    """Count texts whose float16 vector differs between alone and in one big batch."""
    together = encode(texts).astype(np.float16)
    alone = np.concatenate([encode([text]) for text in texts]).astype(np.float16)
    return int((together != alone).any(axis=1).sum())


def workloads() -> dict[str, list[str]]:
    """Texts of one length, and our own texts of every length."""
    shaped = {
        f"{rows:>2} texts x {tokens:>3} tokens": [
            " ".join(WORDS[(row + n) % len(WORDS)] for n in range(tokens - 2))
            for row in range(rows)
        ]
        for rows, tokens in SHAPES
    }
    return shaped | {"32 texts of mixed length": exported.texts()[0][:32]}


def compare(label: str, texts: list[str], encoders: dict[str, Encode]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(ROUNDS):  # interleaved, so that a slow moment hits all alike
        for name, encode in encoders.items():
            rates[name].append(rate(encode, texts))
    base = rates["openvino int8"]
    for name, found in rates.items():
        ratio = statistics.median(b / f for b, f in zip(base, found, strict=True))
        median = statistics.median(found)
        print(f"{label}, {name}: {median:.0f} texts/s; openvino int8 is {ratio:.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnx", action="store_true")
    warnings.simplefilter("ignore")
    encoders: dict[str, Encode] = {
        "openvino int8": open_encoder().encode,
        "torch fp32": open_encoder(backend="torch").encode,
    }
    with tempfile.TemporaryDirectory() as folder:
        if parser.parse_args().onnx:
            from bench.encoder_onnx import onnx_encoder  # noqa: PLC0415 # its packages are optional

            encoders["onnxruntime int8"] = onnx_encoder(Path(folder))
        check = exported.texts()[1]
        reference = encoders["torch fp32"](check)
        for name, encode in encoders.items():
            cosines = (encode(check) * reference).sum(axis=1)
            print(
                f"{name}: cosine to fp32 mean {cosines.mean():.4f}, min {cosines.min():.4f};"
                f" {changed_by_company(encode, check)} of {len(check)} texts change in a batch"
            )
        for label, texts in workloads().items():
            compare(label, texts, encoders)
    for backend in ("openvino", "torch"):
        done = subprocess.run(
            [sys.executable, "-c", LOADING.format(backend=backend)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        seconds, megabytes = done.stdout.split()
        print(f"{backend}: ready after {float(seconds):.2f} s of CPU, {megabytes} MB")


if __name__ == "__main__":
    main()
