"""What each signal of retrieval is worth, on the history of repositories.

python -m bench.retrieval REPO...   prints one row for each, one column for each repository
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from unittest import mock

from indexer.evaluation.run import evaluate
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.search import Fusion, search

NOTHING = {"lexical": 0.0, "dense": 0.0, "path": 0.0, "coherence": 0.0}
STEPS: tuple[tuple[str, dict[str, float], dict[str, bool]], ...] = (
    ("vectors alone", NOTHING | {"dense": 1.0}, {"memory": False}),
    ("words alone", NOTHING | {"lexical": 1.0}, {"memory": False}),
    ("words and vectors", {"path": 0.0, "coherence": 0.0}, {"memory": False}),
    ("+ path", {"coherence": 0.0}, {"memory": False}),
    ("+ coherence of a file", {}, {"memory": False}),
    ("+ memory of past commits", {}, {}),
    ("+ memory kept live", {}, {"live": True}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repos", nargs="+", type=Path)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--cache", type=Path, default=Path(".cortex/embeddings.sqlite"))
    options = parser.parse_args()
    encoder = CachedEncoder(open_encoder(None), options.cache, max_entries=10_000_000)
    names = [repo.name for repo in options.repos]
    print("| hit at 5 |", " | ".join(names), "| mean |")
    print("|---" * (len(names) + 2) + "|")
    for label, weights, how in STEPS:
        fused = partial(search, fusion=Fusion(**weights))
        with mock.patch("vectors.collection.search", fused):
            found = [
                evaluate(repo, encoder, count=options.commits, **how).figures.hit_at_5.value
                for repo in options.repos
            ]
        shown = " | ".join(f"{each:.3f}" for each in (*found, sum(found) / len(found)))
        print(f"| {label} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
