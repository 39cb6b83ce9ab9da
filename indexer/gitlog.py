"""What a repository's history says: who touched which files, saying what. Reads, never writes."""

from __future__ import annotations

import os
import subprocess
from io import BytesIO
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct
from msgspec.structs import replace

from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

log = structlog.get_logger(__name__)

_FORMAT = "%x01%H%x00%ct%x00%s%x00"
_TREE = ("ls-tree", "-r", "-z")
_FILE_MODES = (b"100644", b"100755")


class Commit(Struct, frozen=True):
    """One commit that is no merge.

    Attributes:
        sha: 40 hex digits.
        time: when it was committed, seconds since 1970.
        subject: first line of its message.
        files: paths it changed, removed or added; of a renamed file both.
    """

    sha: str
    time: int
    subject: str
    files: tuple[str, ...]


def git(repo: Path, *arguments: str, given: bytes = b"") -> bytes:
    """Run git on a repository, bare or not, and return what it prints.

    Raises:
        FatalError: git is not installed or refuses; says what it said.
    """
    # Neither a pager, nor signatures that somebody wants shown, nor replaced objects may get in.
    options = ("--no-pager", "--no-replace-objects", "-c", "log.showSignature=false")
    command = ["git", *options, "-C", str(repo), *arguments]
    env = os.environ | {"GIT_NO_LAZY_FETCH": "1"}
    try:
        done = subprocess.run(command, check=True, capture_output=True, input=given, env=env)  # noqa: S603 - no shell
    except FileNotFoundError as error:
        raise FatalError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        raise FatalError(f"{repo}: {error.stderr.decode(errors='replace').strip()}") from error
    return done.stdout


def read_commits(repo: Path, *revisions: str, most: int | None = None) -> list[Commit]:
    """Read commits that are no merges, the newest first.

    Args:
        repo: the repository.
        revisions: as git log takes them, for example `A..B`; after `--`, paths.
        most: at most so many.

    Raises:
        FatalError: it is no repository, or it has no such revisions.
    """
    limits = [] if most is None else [f"--max-count={most}"]
    printed = git(
        repo,
        *("log", "--no-merges", "--date-order", "--name-status", "--no-renames", "-z"),
        *(f"--format={_FORMAT}", *limits, *revisions),
    )
    return [_commit(part) for part in printed.split(b"\x01")[1:]]


def read_history(folder: Path, most: int, since: str | None = None) -> list[Commit]:
    """Read the newest commits of the repository a folder lies in, as that folder sees them.

    Args:
        folder: a directory of a work tree.
        most: at most so many.
        since: leave out this commit and what is before it.

    Returns:
        Commits with paths relative to the folder, the newest first; none if it lies in no
        repository that git is willing to read.
    """
    try:
        prefix = _text(git(folder, "rev-parse", "--show-prefix")).rstrip("\n")
        revisions = f"{since}..HEAD" if since else "HEAD"
        commits = read_commits(folder, revisions, "--", ".", most=most)
    except FatalError as error:
        log.info("no history", folder=str(folder), reason=str(error))
        # What was the newest commit may be gone, after a rebase and a clean-up.
        return read_history(folder, most) if since else []
    return [_within(commit, prefix) for commit in commits]


def blobs_of(repo: Path, revision: str) -> dict[str, str]:
    """Object ids of all plain files of a tree, by path; links and submodules are left out."""
    entries = (line.split(b"\t", 1) for line in git(repo, *_TREE, revision).split(b"\0") if line)
    found = {}
    for described, path in entries:
        mode, _kind, blob = described.split()
        if mode in _FILE_MODES:
            found[_text(path)] = blob.decode()
    return found


def read_blobs(repo: Path, blobs: Iterable[str]) -> Iterator[bytes | None]:
    """Yield the contents of objects, in order; None for one that this clone does not hold."""
    wanted = "".join(f"{blob}\n" for blob in blobs).encode()
    printed = BytesIO(git(repo, "cat-file", "--batch", given=wanted))
    while header := printed.readline().split():
        if header[-1] == b"missing":
            yield None
            continue
        yield printed.read(int(header[-1]))
        printed.read(1)


def _commit(printed: bytes) -> Commit:
    sha, time, subject, *fields = printed.split(b"\0")
    files = _touched(iter(field.strip(b"\n") for field in fields))
    return Commit(sha.decode(), int(time), _text(subject), tuple(dict.fromkeys(files)))


def _within(commit: Commit, prefix: str) -> Commit:
    inside = [path.removeprefix(prefix) for path in commit.files if path.startswith(prefix)]
    return replace(commit, files=tuple(inside))


def _touched(fields: Iterator[bytes]) -> Iterator[str]:
    """Paths; each follows the letter of what happened to it."""
    for status in fields:
        if status:
            yield _text(next(fields))


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
