"""Asks a past tree what later commits were about. Nothing that came after the cut is indexed."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from msgspec import Struct

from indexer.build import build_store
from indexer.evaluation.cut import MOST_FILES, cut, refuse_leaks
from indexer.evaluation.figures import (
    Answer,
    Figure,
    Figures,
    Latency,
    figures,
    latency,
    per_language,
    share,
)
from indexer.remembering import deltas, history_of
from vectors.collection import Collection
from vectors.memory import remember, retrieve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from indexer.evaluation.cut import Question
    from vectors.engine import Engine
    from vectors.types import Encoder

_FILES = 10
_CONTEXT = 5


class Wrong(Struct, frozen=True):
    """A question none of whose files was among the first five."""

    commit: str
    subject: str
    relevant: list[str]
    found: list[str]


class Report(Struct, frozen=True, kw_only=True):
    """What an evaluation found.

    Attributes:
        revision: the commit whose tree was indexed.
        commits: pieces of past work that were remembered.
        live: whether each answer was learned from before the next question.
        index_seconds: to cut, embed and write everything.
        index_bytes: of the store.
        foreign: how many questions from elsewhere were asked.
        foreign_empty: share of them for which nothing was found relevant; None if none were asked.
        wrong: what was not found, in the order of the questions.
    """

    repo: str
    revision: str
    figures: Figures
    per_language: dict[str, Figures]
    latency_ms: Latency
    files: int
    chunks: int
    commits: int
    live: bool
    index_seconds: float
    index_bytes: int
    foreign: int
    foreign_empty: Figure | None
    wrong: list[Wrong]


def evaluate(  # noqa: PLR0913 - what is measured, and how
    repo: Path,
    encoder: Encoder,
    *,
    asking: Encoder | None = None,
    engine: Callable[[Collection], Engine] | None = None,
    count: int = 300,
    live: bool = False,
    memory: bool = True,
    foreign: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Report:
    """Evaluate retrieval on one repository.

    Args:
        repo: a git repository, bare or not; it is only read.
        encoder: embeds chunks and history.
        asking: embeds questions, where the model tells them from what may be found; None is the
            same encoder.
        engine: puts a collection where it is to be searched; None searches it in memory.
        count: how many commits to ask for.
        live: learn from every answer before the next question, as finished tasks teach.
        memory: whether past work is remembered at all.
        foreign: questions about something else, which nothing should be found for.
        progress: told how far texts, then questions, are done, of how many.

    Raises:
        FatalError: it is no repository, its history is too short, or something would leak.
        TransientError: encoder or disk failed.
    """
    asking = asking or encoder
    past = cut(repo, count)
    learned = past.history() if memory else []
    refuse_leaks(past, learned)
    with TemporaryDirectory(prefix="cortex-") as folder:
        tree, store = Path(folder, "tree"), Path(folder, "store")
        past.extract(tree)
        begun = time.perf_counter()
        built = build_store(
            tree, store, encoder, progress=lambda now: progress(now.texts, now.total)
        )
        history = history_of(built.collection, learned, encoder)
        seconds = time.perf_counter() - begun
        code = Collection.open(store, built.collection, embedder=encoder.identity)
        commits = history.chunk_count
        asked = len(past.questions) + len(foreign)
        searched, remembered = (engine(each) if engine else each for each in (code, history))
        answers, empty = [], []
        for number, text in enumerate(foreign, 1):
            found = retrieve(searched, remembered, [text], asking.encode([text]), _CONTEXT)[0]
            empty.append(float(not found))
            progress(number, asked)
        for number, question in enumerate(past.questions, len(foreign) + 1):
            answers.append(_answer(searched, remembered, asking, question))
            if live:
                remembered.apply(deltas([question.commit], encoder)[0])
            progress(number, asked)
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    return Report(
        repo=str(repo),
        revision=past.revision,
        figures=figures(answers),
        per_language=per_language(answers),
        latency_ms=latency(answers),
        files=built.files,
        chunks=built.chunks,
        commits=commits,
        live=live,
        index_seconds=round(seconds, 1),
        index_bytes=size,
        foreign=len(foreign),
        foreign_empty=share(empty) if empty else None,
        wrong=[
            _wrong(question, answer)
            for question, answer in zip(past.questions, answers, strict=True)
            if answer.relevant.isdisjoint(answer.files[:MOST_FILES])
        ],
    )


def _answer(code: Engine, history: Engine, encoder: Encoder, question: Question) -> Answer:
    texts = [question.commit.subject]
    begun = time.perf_counter()
    vectors = encoder.encode(texts)
    memories = remember(history, code, texts, vectors)
    context = code.search_batch(texts, vectors, _CONTEXT, memories)[0]
    seconds = time.perf_counter() - begun
    ranked = code.search_batch(texts, vectors, _FILES, memories)[0]
    return Answer(
        relevant=question.relevant,
        files=tuple(dict.fromkeys(hit.path for hit in ranked)),
        context=tuple(hit.path for hit in context),
        seconds=seconds,
    )


def _wrong(question: Question, answer: Answer) -> Wrong:
    return Wrong(
        question.commit.sha[:12],
        question.commit.subject,
        sorted(answer.relevant),
        [*answer.files[:MOST_FILES]],
    )
