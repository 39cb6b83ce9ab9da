"""A switch between two tags of a real repository: what it embeds, and how long until all is level.

`python -m bench.checkout --repo DIR --tags A B [--json]`. A live indexer and watcher follow a clone
(the given repository is only read, and may lack blobs: their files are left out). What
had to be embedded is worked out apart from them, from the texts of both trees and of both
histories. In the end the index must equal a rebuild: hashes, chunks, and the bytes of vectors.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.contents import rebuilt
from bench.freshness import KEYS, LiveIndex, embedded_texts, system, wait_until
from bench.generated import git
from bench.report import show, table
from indexer.gitlog import read_history
from indexer.remembering import MOST_COMMITS, tells
from vectors.collection import Collection
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.follow import Follower
from vectors.memory import change

if TYPE_CHECKING:
    from bench.contents import Contents

HEADER = (
    "git checkout",
    "files changed",
    "chunks",
    "texts never seen",
    "texts embedded",
    "git, s",
    "words, s",
    "equal to a rebuild, s",
)


class Tag(NamedTuple):
    """What an index of a tag holds.

    Attributes:
        texts: everything that is embedded for it, commit subjects included.
    """

    contents: Contents
    texts: set[str]

    @property
    def chunks(self) -> int:
        return sum(len(chunks) for _, chunks in self.contents.values())


def clone(repo: Path, target: Path, tags: tuple[str, str]) -> None:
    """Clone without copying objects, and leave out files whose contents the repository lacks."""
    git(target.parent, "clone", "--quiet", "--shared", "--no-checkout", str(repo), str(target))
    absent = {path for tag in tags for path in absent_files(repo, tag)}
    patterns = ["/*", *(f"!/{path}" for path in sorted(absent))]
    git(target, "sparse-checkout", "set", "--no-cone", *patterns)
    git(target, "checkout", "--quiet", "--detach", tags[0])


def absent_files(repo: Path, tag: str) -> list[str]:
    listed = [line.split(None, 3) for line in git(repo, "ls-tree", "-r", tag).splitlines()]
    names = "".join(f"{name}\n" for _, _, name, _ in listed)
    found = git(repo, "cat-file", "--batch-check", given=names).splitlines()
    missing = [line.endswith("missing") for line in found]
    return [path for (*_, path), gone in zip(listed, missing, strict=True) if gone]


def described(source: Path, tag: str, store: Path, encoder: CachedEncoder) -> Tag:
    contents = rebuilt(source, tag, store, encoder)
    texts = {chunk.embedded_text for _, chunks in contents.values() for chunk, _ in chunks}
    told = [commit for commit in read_history(source, 2 * MOST_COMMITS) if tells(commit)]
    subjects = {change(each.subject, each.files).embedded_text for each in told[:MOST_COMMITS]}
    return Tag(contents, texts | subjects)


def has_embedded(data: Path, texts: int) -> bool:
    return embedded_texts(data) >= texts


def measure(repo: Path, tags: tuple[str, str], home: Path) -> dict[str, dict[str, float]]:
    source, data = home / "repository", home / ".cortex"
    clone(repo, source, tags)
    encoder = CachedEncoder(open_encoder(threads=len(os.sched_getaffinity(0))), None)
    known = {tag: described(source, tag, home / "rebuilt" / tag, encoder) for tag in tags}
    differing = git(source, "diff", "--name-only", "--no-renames", *tags).splitlines()
    git(source, "checkout", "--quiet", tags[0])
    seen = set(known[tags[0]].texts)
    figures = {}
    with system(home, source, "indexer", "watch") as client:
        collection = Collection.empty("code", encoder.dim, encoder.identity)
        live = LiveIndex(Follower(client, collection, data / "store", KEYS.vectors("code")))
        live.seconds_until_equal(known[tags[0]].contents)
        wait_until(partial(has_embedded, data, len(seen)), "the history")
        for tag in reversed(tags):
            before = embedded_texts(data)
            new = known[tag].texts - seen
            seen |= new
            begun = time.perf_counter()
            git(source, "checkout", "--quiet", tag)
            switched = time.perf_counter() - begun
            words = live.seconds_until_words(known[tag].contents) + switched
            live.seconds_until_equal(known[tag].contents)
            equal = time.perf_counter() - begun
            wait_until(partial(has_embedded, data, len(seen)), "the history")
            figures[f"to {tag}"] = {
                "files_changed": len(differing),
                "files": len(known[tag].contents),
                "chunks": known[tag].chunks,
                "never_seen": len(new),
                "embedded": embedded_texts(data) - before,
                "git_s": switched,
                "words_s": words,
                "equal_s": equal,
            }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--tags", nargs=2, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["GIT_NO_LAZY_FETCH"] = "1"
    with tempfile.TemporaryDirectory(prefix="cortex-bench-") as home:
        figures = measure(options.repo.resolve(), tuple(options.tags), Path(home))
    rows = [
        (
            name,
            f"{of['files_changed']:,} of {of['files']:,}",
            f"{of['chunks']:,}",
            f"{of['never_seen']:,}",
            f"{of['embedded']:,}",
            *(f"{of[each]:.1f}" for each in ("git_s", "words_s", "equal_s")),
        )
        for name, of in figures.items()
    ]
    show(figures, table(HEADER, rows), as_json=options.json)


if __name__ == "__main__":
    main()
