"""What related files, several collections and masters' preferences do to what is found.

python -m bench.context REPO...   one table for each, on the history of repositories
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from indexer.build import collect
from indexer.evaluation.cut import cut
from indexer.remembering import history_of
from indexer.scan import Rules as Filter
from router.masters import Masters
from router.rules import Rules
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.graph import RELATED, Graph
from vectors.joint import Joint
from vectors.memory import retrieve
from vectors.types import FileDelta
from worker.ranking import DEPTH, prefer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from indexer.evaluation.cut import Question
    from vectors.collection import Collection
    from vectors.types import Encoder, Hit

_DOCS = (".md", ".rst", ".txt", ".adoc")
_NEIGHBOURS = (0.05, 0.1, 0.2)  # weights of being around other hits, that were tried


class Repo:
    """A repository at its cut, with what later commits asked for."""

    def __init__(self, path: Path, encoder: Encoder, count: int) -> None:
        past = cut(path, count)
        self.questions: tuple[Question, ...] = past.questions
        self.texts = [each.commit.subject for each in self.questions]
        self.vectors = encoder.encode(self.texts)
        with TemporaryDirectory(prefix="cortex-") as folder:
            past.extract(Path(folder))
            self.code, _ = collect(Path(folder), encoder, name="code", rules=Filter())
            everything = Path(folder)
            for each in sorted(everything.rglob("*")):
                if each.is_file() and each.suffix not in _DOCS:
                    each.unlink()
            self.docs, _ = collect(everything, encoder, name="docs", rules=Filter())
        self.history = history_of("code", past.history(), encoder)

    def share(self, found: Sequence[Sequence[str]]) -> float:
        """Share of the questions with a touched file among what was found."""
        hits = [
            not question.relevant.isdisjoint(paths)
            for question, paths in zip(self.questions, found, strict=True)
        ]
        return sum(hits) / len(hits)

    def ask(self, k: int) -> list[list[Hit]]:
        return retrieve(self.code, self.history, self.texts, self.vectors, k)


def related(repo: Repo) -> dict[str, float]:
    graph = Graph(repo.code, repo.history)
    graph.settle()
    ten = [[hit.path for hit in hits] for hits in repo.ask(10)]
    five = [paths[:5] for paths in ten]
    cold, warm = [], []
    for times in (cold, warm):
        for paths in five:
            began = time.perf_counter()
            for path in paths:
                graph.around(path).related()
            times.append(1e3 * (time.perf_counter() - began))
    rows = {
        "hit at 5": repo.share(five),
        "hit at 10": repo.share(ten),
        "5 and what is related": repo.share(
            [
                [*paths, *(each for path in paths for each in graph.around(path).related())]
                for paths in five
            ]
        ),
        "5 and what is related beside them": repo.share(
            [
                [*paths, *(each for path in paths for each in _beside(graph, path, paths))]
                for paths in five
            ]
        ),
        "first and what is related": repo.share(
            [
                [*paths[:1], *(e for p in paths[:1] for e in graph.around(p).related())]
                for paths in five
            ]
        ),
    }
    for kind in ("changed_with", "tests", "imports", "imported_by"):
        rows[f"5 and {kind}, six each"] = repo.share(
            [
                [*paths, *(e for path in paths for e in getattr(graph.around(path), kind)[:6])]
                for paths in five
            ]
        )
    for weight in _NEIGHBOURS:
        rows[f"neighbours rank, {weight}"] = repo.share(
            [_lifted(graph, hits, weight) for hits in repo.ask(20)]
        )
    rows["ms for 5, cold, p50"] = float(np.median(cold))
    rows["ms for 5, cold, p99"] = float(np.percentile(cold, 99))
    rows["ms for 5, known, p50"] = float(np.median(warm))
    return rows


def _beside(graph: Graph, path: str, paths: Sequence[str]) -> list[str]:
    return [each for each in graph.around(path).related(99) if each not in paths][:RELATED]


def _lifted(graph: Graph, hits: Sequence[Hit], weight: float) -> list[str]:
    scores = {hit.path: 0.0 for hit in hits}
    for hit in hits:
        scores[hit.path] += hit.score
        for other in graph.around(hit.path).related():
            if other in scores:
                scores[other] += weight * hit.score
    return sorted(scores, key=lambda path: -scores[path])[:5]


def apart(repo: Repo) -> dict[str, float]:
    """Documents in a collection of their own, and code with documents left out."""
    whole = repo.share([[hit.path for hit in hits] for hits in repo.ask(5)])
    code = _without_docs(repo)
    sources = ((code, repo.history), (repo.docs, repo.history))
    joint = Joint().search(sources, repo.texts, repo.vectors, 5)
    each = [retrieve(one, repo.history, repo.texts, repo.vectors, 5) for one, _ in sources]
    merged = [sorted([*a, *b], key=lambda hit: -hit.score)[:5] for a, b in zip(*each, strict=True)]
    return {
        "one collection": whole,
        "two, searched apart": repo.share([[hit.path for hit in hits] for hits in merged]),
        "two, searched as one": repo.share([[hit.path for hit in hits] for hits in joint]),
    }


def _without_docs(repo: Repo) -> Collection:
    for path, state in repo.code.files().items():
        if path.endswith(_DOCS):
            version = state.version + 1
            repo.code.apply(
                FileDelta(path=path, version=version, content_hash="", chunks=[], vectors=b"")
            )
    return repo.code


def preferred(repo: Repo) -> dict[str, float]:
    masters = Masters.parse(Path("router/masters.toml").read_text())
    rules = Rules.parse(Path("router/rules.toml").read_text(), masters)
    by_name = {master.name: master for master in masters.all}
    routed = [by_name[rules.score(text).selected] for text in repo.texts]
    found = repo.ask(5 * DEPTH)
    rows = {"no preferences": repo.share([[h.path for h in hits[:5]] for hits in repo.ask(5)])}
    rows["of the routed master"] = repo.share(
        [
            [hit.path for hit in prefer(hits, master, 5)]
            for hits, master in zip(found, routed, strict=True)
        ]
    )
    for name, master in by_name.items():
        rows[f"always of {name}"] = repo.share(
            [[hit.path for hit in prefer(hits, master, 5)] for hits in found]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repos", nargs="+", type=Path)
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--cache", type=Path, default=Path(".cortex/embeddings.sqlite"))
    options = parser.parse_args()
    encoder = CachedEncoder(open_encoder(None), options.cache, max_entries=10_000_000)
    repos = [Repo(path, encoder, options.commits) for path in options.repos]
    for measure in (related, preferred, apart):  # the last one takes documents away
        columns = [measure(repo) for repo in repos]
        print(
            f"| {measure.__name__} |", " | ".join(path.parent.name for path in options.repos), "|"
        )
        print("|---" * (len(columns) + 1) + "|")
        for row in columns[0]:
            print(f"| {row} |", " | ".join(f"{each[row]:.3f}" for each in columns), "|")
        print()


if __name__ == "__main__":
    main()
