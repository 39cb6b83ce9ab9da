"""Which texts are turned away: those that are about a repository, and those that are not.

python -m bench.floor REPO... [--foreign FILE]...          a table of what is kept and turned away
python -m bench.floor REPO... --foreign FILE... --fit      constants for vectors/relevance.py: BOTH,
                                                           and with --no-memory FILES

Related are the subjects of 300 later commits (`cortex evaluate-retrieval`), all of them and those
that a touched file is found for, and 300 questions about a word that stands in one file alone.
Unrelated are the lines of each FILE and, much harder, subjects of the other repositories. With
--fit, constants are chosen on all repositories but one and tried on
that one, each in turn; those of all together are printed last.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
from sklearn.linear_model import LogisticRegression

from indexer.evaluation.cut import cut
from indexer.evaluation.run import evaluate
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.naming import or_named
from vectors.relevance import LogOdds, are_relevant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from vectors.naming import StandTogether
    from vectors.types import Encoder

_EACH = 20  # subjects of every other repository
_RELATED, _FOUND, _OTHERS = "related", "found", "other repositories"
_NAMED, _QUESTIONS = "about one word", 300
_SIGNALS = 4
_KEPT = {_RELATED, _FOUND, _NAMED}
_WORD = re.compile(r"\b[A-Za-z_]\w{5,30}\b", re.ASCII)
_SAID = (
    "calibrate the {} procedure",
    "Fix the bug in {}",
    "What happens when {} is called?",
    "Add a test for {} and document it",
    "rename {} to something clearer",
    "{} crashes when the input is empty",
    "Make {} configurable by the user",
    "refactor the code around {} so that it is easier to read",
)
_SHARE_KEPT = (0.98, 0.99, 0.995, 0.997, 0.999)


Decide = Callable[["NDArray[np.float64]"], "NDArray[np.bool_]"]
Signals = dict[str, "NDArray[np.float64]"]
"""Of the questions of each kind, shape (n, 5): what `vectors.relevance.signals` gives, and whether
they name something."""


class Recorder:
    """Stands in for the floor: writes down what it is asked and turns nothing away.

    Attributes:
        rows: the signals of every batch.
        named: shape (n, 1) of every batch, whether texts name something.
    """

    def __init__(self) -> None:
        self.rows: list[NDArray[np.float64]] = []
        self.named: list[NDArray[np.bool_]] = []

    def relevant(self, found: NDArray[np.float64]) -> NDArray[np.bool_]:
        self.rows.append(found)
        return np.ones(len(found), np.bool_)

    def or_named(
        self, fits: NDArray[np.bool_], texts: list[str], stand_together: StandTogether
    ) -> NDArray[np.bool_]:
        self.named.append(or_named(~fits, texts, stand_together)[:, np.newaxis])
        return fits


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repos", nargs="+", type=Path)
    parser.add_argument("--foreign", action="append", type=Path, default=[])
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--cache", type=Path, default=Path(".cortex/embeddings.sqlite"))
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    encoder = CachedEncoder(open_encoder(None), options.cache, max_entries=10_000_000)
    files = {path.stem: _lines(path) for path in options.foreign}
    subjects = {
        repo: [each.commit.subject for each in cut(repo, _EACH).questions] for repo in options.repos
    }
    found = {}
    for repo in options.repos:
        others = [text for other in subjects if other != repo for text in subjects[other]]
        foreign = files | ({_OTHERS: others} if others else {})
        foreign[_NAMED] = about_one_word(repo, options.commits)
        found[repo] = collect(repo, encoder, foreign, options.commits, memory=options.memory)
    if options.fit:
        print_fits(found, [*files], [0, 1, 2, 3] if options.memory else [0, 1])
    else:
        print_table(found)


def collect(
    repo: Path, encoder: Encoder, foreign: Mapping[str, list[str]], count: int, *, memory: bool
) -> Signals:
    """Ask a repository everything, with the floor open."""
    recorder = Recorder()
    texts = [text for each in foreign.values() for text in each]
    with (
        mock.patch("vectors.search.are_relevant", recorder.relevant),
        mock.patch("vectors.search.or_named", recorder.or_named),
    ):
        report = evaluate(repo, encoder, count=count, memory=memory, foreign=texts)
    rows = np.hstack([np.concatenate(recorder.rows), np.concatenate(recorder.named)])
    ends = np.cumsum([len(each) for each in foreign.values()])
    related = rows[len(texts) :: 2]  # each is asked twice: for ten files and for five chunks
    missed = {each.commit for each in report.wrong}
    hit = [each.commit.sha[:12] not in missed for each in cut(repo, count).questions]
    apart = np.split(rows[: len(texts)], ends[:-1]) if foreign else []
    return {_RELATED: related, _FOUND: related[hit]} | dict(zip(foreign, apart, strict=True))


def about_one_word(repo: Path, count: int) -> list[str]:
    """Questions about words that stand in one file of the tree alone."""
    files: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        cut(repo, count).extract(Path(name))
        for path in Path(name).rglob("*"):
            if path.is_file() and not path.is_symlink():
                files.update(set(_WORD.findall(path.read_text(errors="replace"))))
    choose = random.Random(0)
    words = [word for word, count in sorted(files.items()) if count == 1]
    return [
        choose.choice(_SAID).format(word)
        for word in choose.sample(words, min(_QUESTIONS, len(words)))
    ]


def print_table(found: Mapping[Path, Signals]) -> None:
    """Print which share of each kind keeps its context, or gets none."""
    kinds = [*next(iter(found.values()))]
    heads = [f"{kind}: kept" if kind in _KEPT else f"{kind}: empty" for kind in kinds]
    print("| repository |", " | ".join(heads), "|")
    print("|---" * (len(kinds) + 1) + "|")
    rows = {
        repo.parent.name if repo.name == "repo" else repo.name: shares(each, are_relevant)
        for repo, each in found.items()
    }
    rows["mean"] = np.mean([*rows.values()], axis=0)
    for name, row in rows.items():
        print(f"| {name} |", " | ".join(f"{each:.3f}" for each in row), "|")


def shares(found: Signals, decide: Decide) -> NDArray[np.float64]:
    """Share of what is related that is kept, and of everything else that is turned away."""
    kept = {
        kind: float((decide(rows[:, :_SIGNALS]) | (rows[:, _SIGNALS] > 0)).mean())
        for kind, rows in found.items()
    }
    return np.array([share if kind in _KEPT else 1 - share for kind, share in kept.items()])


def print_fits(found: Mapping[Path, Signals], unrelated: list[str], columns: list[int]) -> None:
    """Choose constants and print what they do where they were not chosen on."""
    kinds = [*next(iter(found.values()))]
    print("chosen on all but one, tried on that one; mean over repositories")
    for share in _SHARE_KEPT:
        tried = []
        for repo in found:
            rest = [found[each] for each in found if each != repo]
            tried.append(shares(found[repo], fit(rest, unrelated, columns, share).reached))
        means = zip(kinds, np.mean(tried, axis=0), strict=True)
        print(f"{share}:", ", ".join(f"{kind} {mean:.3f}" for kind, mean in means))
        print("  ", fit([*found.values()], unrelated, columns, share))


def fit(found: list[Signals], unrelated: list[str], columns: list[int], share: float) -> LogOdds:
    """Fit a logistic regression that keeps a given share of what is found."""
    related = np.concatenate([each[_FOUND] for each in found])[:, :_SIGNALS]
    others = np.concatenate([each[kind] for each in found for kind in unrelated])[:, :_SIGNALS]
    model = LogisticRegression(C=1e4, class_weight="balanced", max_iter=3_000).fit(
        np.concatenate([related, others])[:, columns],
        np.repeat([1, 0], [len(related), len(others)]),
    )
    weights = np.zeros(_SIGNALS)
    weights[columns] = model.coef_[0]
    bias = float(model.intercept_[0])
    least = float(np.quantile(related @ weights + bias, 1 - share))
    return LogOdds(round(least, 3), round(bias, 3), tuple(weights.round(3).tolist()))


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


if __name__ == "__main__":
    main()
