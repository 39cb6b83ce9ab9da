"""Decisions with routing and retrieval beside the bare encoder, in turn: A B A B.

`python -m bench.decisions --store DIR [--tokens N ...] [--texts FILE] [--rounds N] [--json]`, with
OMP_NUM_THREADS=1. DIR is an index built by `cortex index build` from a clone, so that it has a
history; tasks are made of the words of its commits, cut to so many tokens of the encoder. FILE
holds tasks as they come, JSON lines of {"text"}. All tasks are routed by the packaged model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from bench.contenders import Contender
from bench.drain import drain
from bench.report import show, table
from vectors import exported
from vectors.collection import Collection
from vectors.encoder import ensure_exported
from vectors.memory import HISTORY
from vectors.model_source import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 24.0  # of encoding, about, in each measurement
LEAD = 0.25  # of the tasks are decided before the clock starts
SPECIAL = 2  # tokens that every text has


def subjects(store: Path) -> list[str]:
    """What was said of the commits that a store remembers."""
    history = Collection.open(store, f"code{HISTORY}")
    [base, _] = history.freeze().segments
    return [chunk.searched_text for chunk in base.chunks(range(len(base.alive)))]


def cut(tokenizer: Tokenizer, said: list[str], tokens: int) -> Iterator[str]:
    """Yield texts of so many tokens, without end: words of commits, in their order.

    No text comes twice: a worker remembers those it has met.
    """
    choose = random.Random(tokens)
    met: set[str] = set()
    while True:
        words: list[str] = []
        while len(words) < tokens:
            commit = choose.choice(said).split()
            words += commit[choose.randrange(len(commit)) :]
        length = 0
        kept = []
        for word in words:
            length += len(tokenizer.encode(word, add_special_tokens=False).ids)
            if length > tokens - SPECIAL:
                break
            kept.append(word)
        text = " ".join(kept)
        if text and text not in met:
            met.add(text)
            yield text


def bare(texts: Path, count: int) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "bench.bare_encoder", str(texts), str(count)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def worker(store: Path, folder: Path, texts: Path) -> Contender:
    return Contender(
        "worker",
        ("-m", "bench.preload", "--texts", str(texts)),
        ("-m", "bench.profile", str(folder / "profile.json")),
        environment=with_retrieval(store, folder),
    )


def with_retrieval(store: Path, folder: Path) -> dict[str, str]:
    """Environment of a worker that routes by the packaged model and retrieves from a store."""
    return {
        "VECTORSTORE_PATH": str(store.absolute()),
        "CORTEX_DATA_DIR": str(folder),
        "AB_TEST_PERCENTAGE": "1.0",
    }


def measure(store: Path, texts: list[str], rounds: int) -> dict[str, float]:
    """Return medians over rounds of both rates, their ratio, and the encoder's share of the CPU."""
    bares, rates, shares, rest = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="cortex-bench-") as name:
        folder = Path(name)
        file = folder / "texts.json"
        file.write_text(json.dumps(texts))
        for _ in range(rounds):
            bares.append(bare(file, len(texts)))
            rates.append(drain(worker(store, folder, file), len(texts), int(LEAD * len(texts))))
            profile = json.loads((folder / "profile.json").read_text())
            shares.append(profile["encoding_s"] / profile["cpu_s"])
            rest.append(1e3 * (profile["cpu_s"] - profile["encoding_s"]) / profile["texts"])
    return {
        "texts_per_s": statistics.median(bares),
        "decisions_per_s": statistics.median(rates),
        "ratio": statistics.median(b / a for a, b in zip(bares, rates, strict=True)),
        "encoder_share": statistics.median(shares),
        "rest_ms_per_task": statistics.median(rest),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--tokens", type=int, nargs="*", default=[16, 32, 64, 128])
    parser.add_argument("--texts", type=Path, help="tasks as they come, JSON lines")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    source = resolve(None)
    tokenizer = Tokenizer.from_file(str(ensure_exported(source) / exported.TOKENIZER_FILE))
    tokenizer.no_padding()
    said = subjects(options.store)
    sets = {
        f"{tokens} tokens": list(
            islice(cut(tokenizer, said, tokens), round(SECONDS * 13_000 / tokens))
        )
        for tokens in options.tokens
    }
    if options.texts:
        lines = options.texts.read_text().splitlines()
        sets["as they come"] = list(dict.fromkeys(json.loads(line)["text"] for line in lines))
    figures = {name: measure(options.store, texts, options.rounds) for name, texts in sets.items()}
    rows = [
        (
            name,
            *(f"{found[key]:,.0f}" for key in ("texts_per_s", "decisions_per_s")),
            *(f"{found[key]:.2f}" for key in ("ratio", "encoder_share", "rest_ms_per_task")),
        )
        for name, found in figures.items()
    ]
    header = (
        *("tasks of", "bare encoder, texts/s", "worker, decisions/s", "ratio"),
        *("encoder's share of the worker's CPU", "rest, ms a task"),
    )
    targets = ("target", "", "", "≥ 0.85", "≥ 0.90", "")
    show(figures, table(header, [*rows, targets]), as_json=options.json)


if __name__ == "__main__":
    main()
