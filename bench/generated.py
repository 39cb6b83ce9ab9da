"""A git repository of small made-up sources with two branches that differ in thousands of files."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAIN, OTHER = "main", "other"
VERBS = [
    "load",
    "parse",
    "merge",
    "render",
    "check",
    "send",
    "store",
    "fetch",
    "close",
    "sort",
    "split",
    "encode",
    "retry",
]
NOUNS = [
    "invoice",
    "session",
    "order",
    "header",
    "ticket",
    "report",
    "cursor",
    "account",
    "payload",
    "member",
    "route",
]
# Of ten files of the first branch: five edited, one deleted, two moved, two as they were; and for
# ten there is one that only the other branch has.
CHANGED_OF_TEN = 9


def git(root: Path, *arguments: str, given: str | None = None) -> str:
    who = {f"GIT_{role}_{what}": "bench@example.org"
           for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
    return subprocess.run(
        ["git", *arguments],
        cwd=root,
        env={**os.environ, **who, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
        text=True,
        input=given,
    ).stdout


def source_text(number: int, revision: int = 0) -> str:
    """A short module, like no other number's or revision's."""
    draw = random.Random(f"{number}.{revision}")
    verb, noun, other = draw.choice(VERBS), draw.choice(NOUNS), draw.choice(NOUNS)
    return (
        f'"""How a {noun} is {verb}ed for its {other}, case {number}."""\n\n'
        f"LIMIT = {draw.randrange(1000)}\n\n\n"
        f"def {verb}_{noun}_{number}({other}, limit=LIMIT):\n"
        f'    """{verb.title()} the {noun} of one {other}, at most {draw.randrange(90)} times."""\n'
        f"    found = [each for each in {other}.{noun}s if each.weight > {draw.randrange(99)}]\n"
        f"    return sorted(found, key=lambda each: each.{draw.choice(VERBS)}d_at)[:limit]\n"
    )


def make_repository(root: Path, changed: int) -> int:
    """Make both branches, check the first one out, and return how many files differ."""
    tens = -(-changed // CHANGED_OF_TEN)
    root.mkdir(parents=True)
    git(root, "init", "--quiet", "--initial-branch", MAIN)
    paths = {number: root / f"part{number % 50}" / f"m{number}.py" for number in range(10 * tens)}
    for number, path in paths.items():
        _write(path, source_text(number))
    _commit(root)
    git(root, "checkout", "--quiet", "-b", OTHER)
    for number, path in paths.items():
        if number % 10 < 5:
            _write(path, source_text(number, revision=1))
        elif number % 10 == 5:
            path.unlink()
        elif number % 10 < 8:
            (root / f"moved{number % 7}").mkdir(exist_ok=True)
            path.rename(root / f"moved{number % 7}" / path.name)
    for number in range(10 * tens, 11 * tens):
        _write(root / "added" / f"m{number}.py", source_text(number))
    _commit(root)
    differing = git(root, "diff", "--name-only", "--find-renames=100%", MAIN, OTHER).splitlines()
    git(root, "checkout", "--quiet", MAIN)
    return len(differing)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def _commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "generated")
