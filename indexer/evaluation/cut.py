"""Where a history is cut: what is before it may be learned from, what is after it is asked for."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from msgspec import Struct

from contracts.errors import FatalError
from indexer.gitlog import Commit, blobs_of, git, read_blobs, read_commits
from indexer.scan import is_relative

MOST_FILES = 5
_LEAST_WORDS = 3


class Question(Struct, frozen=True):
    """A commit after the cut: what was said, and which files that existed at the cut it touched."""

    commit: Commit
    relevant: frozenset[str]


class Cut(Struct, frozen=True):
    """A repository at one moment of its past, and what became of it.

    Attributes:
        repo: the repository.
        revision: the commit whose tree is indexed.
        questions: in the order they came.
    """

    repo: Path
    revision: str
    questions: tuple[Question, ...]

    def history(self) -> list[Commit]:
        """Every commit before the cut, the newest first."""
        return read_commits(self.repo, self.revision)

    def extract(self, folder: Path) -> None:
        """Write the plain files of the tree at the cut into a folder, if this clone holds them."""
        blobs = {
            path: blob
            for path, blob in blobs_of(self.repo, self.revision).items()
            if is_relative(path)
        }
        for path, content in zip(blobs, read_blobs(self.repo, blobs.values()), strict=True):
            if content is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)


def cut(repo: Path, count: int, revision: str = "HEAD") -> Cut:
    """Go back until there are `count` commits to ask for.

    Such a commit is no merge, its subject has three words or more, and it touches one to five files
    that existed at the cut. It came after the cut: the cut's commit is not among its descendants
    and it is not among the cut's ancestors.

    Raises:
        FatalError: it is no repository, or its history is too short.
    """
    line = git(repo, "rev-list", "--first-parent", revision).decode().split()
    later = {commit.sha: commit for commit in read_commits(repo, revision)}

    def questions(back: int) -> list[Question]:
        return _questions(repo, line[back], revision, later)

    back = bisect_left(range(len(line)), count, key=lambda at: len(questions(at)))
    if back == len(line):
        found = len(questions(len(line) - 1))
        raise FatalError(f"{repo}: {found} commits can be asked for, not {count}")
    return Cut(repo, line[back], tuple(questions(back)[:count]))


def refuse_leaks(cut: Cut, learned: list[Commit]) -> None:
    """Check that nothing which came after the cut is learned from.

    Raises:
        FatalError: something is; names it.
    """
    ancestors = set(git(cut.repo, "rev-list", cut.revision).decode().split())
    for commit in learned:
        if commit.sha not in ancestors:
            raise FatalError(
                f"commit {commit.sha[:12]} ({commit.subject}) is not before the cut at"
                f" {cut.revision[:12]}: what is asked for would be known beforehand"
            )


def _questions(repo: Path, revision: str, head: str, commits: dict[str, Commit]) -> list[Question]:
    """What can be asked for after a revision, the oldest first."""
    existing = frozenset(blobs_of(repo, revision))
    after = git(repo, "rev-list", "--no-merges", "--date-order", f"{revision}..{head}")
    asked = []
    for sha in reversed(after.decode().split()):
        commit = commits[sha]
        relevant = existing.intersection(commit.files)
        if len(commit.subject.split()) >= _LEAST_WORDS and 1 <= len(relevant) <= MOST_FILES:
            asked.append(Question(commit, relevant))
    return asked
