"""The head of the packaged model: from a text, its embedding and rule scores to a prediction.

`python -m bench.head [--texts N] [--rounds N] [--json]`, with OMP_NUM_THREADS=1. Texts are those of
the packaged model's examples, each another one, with their real embeddings. A model is opened and
asked about as many others first, to warm up; then it meets each text for the first time, and then
again, when it knows its pieces. One thread.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.report import show, table
from bench.router import ROOT
from bench.timing import CALIBRATION, HEADER, calibrate, summary, timed
from registry.opening import open_model
from router.masters import Masters
from router.rules import Rules
from vectors.encoder import open_encoder
from worker.model_folders import PACKAGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from bench.timing import Summary
    from router.model import Model
    from router.rules import RuleScore

SEED = 20_261_122
BATCHES = (1, 64)
TARGET_US = 50.0

Inputs = tuple[list[str], "NDArray[np.float32]", list["RuleScore"]]


def examples(count: int) -> list[str]:
    lines = (ROOT / "learning/seed/examples.jsonl").read_text("utf-8").splitlines()
    texts = [*dict.fromkeys(json.loads(line)["text"] for line in lines)]
    return random.Random(SEED).sample(texts, count)


def inputs(texts: list[str]) -> Inputs:
    masters = Masters.parse((ROOT / "router/masters.toml").read_text("utf-8"))
    rules = Rules.parse((ROOT / "router/rules.toml").read_text("utf-8"), masters)
    encoder = open_encoder()
    parts = [encoder.encode(texts[start : start + 32]) for start in range(0, len(texts), 32)]
    return texts, np.concatenate(parts), [rules.score(text) for text in texts]


def calls(model: Model, given: Inputs, batch: int) -> Iterator[Callable[[], object]]:
    for start in range(0, len(given[0]) - batch + 1, batch):
        yield partial(model.predict, *_part(given, slice(start, start + batch)))


def _part(given: Inputs, part: slice) -> Inputs:
    texts, embeddings, rules = given
    return texts[part], embeddings[part], rules[part]


def measure(given: Inputs, rounds: int) -> dict[str, Summary]:
    half = len(given[0]) // 2
    before, asked = _part(given, slice(half)), _part(given, slice(half, 2 * half))
    found: dict[str, list[tuple[list[int], list[int]]]] = {}
    for _ in range(rounds):
        for batch in BATCHES:
            model = open_model(PACKAGED)
            for call in calls(model, before, batch):
                call()
            for met in ("first seen", "seen before"):
                times = timed(calls(model, asked, batch), time.thread_time_ns)
                found.setdefault(f"batch {batch}, {met}", []).append(times)
        times = timed([calibrate] * half, time.thread_time_ns)
        found.setdefault(CALIBRATION, []).append(times)
    return {name: summary(each) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=4_000, help="half of them warm up")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(inputs(examples(options.texts)), options.rounds)
    rows = [(name, *each.cells()) for name, each in figures.items()]
    markdown = table(("one call, µs", *HEADER), rows)
    target = f"Target at batch 1: p99 < {TARGET_US:g} µs."
    show(
        {name: each._asdict() for name, each in figures.items()},
        f"{markdown}\n\n{target}",
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
