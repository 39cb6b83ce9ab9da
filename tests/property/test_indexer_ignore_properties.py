"""git itself is the oracle of what its ignore files mean."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.scan import Rules, Tree

GIT = ("git", "-c", "core.excludesFile=", "-c", "core.quotePath=false")
ENVIRONMENT = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}

names = st.sampled_from(["a", "b", "ab", "a.py", "b.txt", "x y", "[a]", "foo", "build", ".h", "é"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
PIECES = (
    r"""* ** ? a b ab foo build *.py *.txt [ab] [!a] [a- a**b / / / \ ! # [[:alpha:]] []a] [^/]"""
)
pieces = st.sampled_from([*PIECES.split(" "), "é", "**/", ".", " ", "x y", "\\ "])
lines = st.one_of(
    paths,
    st.tuples(
        st.sampled_from(["", "!", "/", "!/"]), paths, st.sampled_from(["", "/", "/*", "/**"])
    ).map("".join),
    st.lists(pieces, min_size=1, max_size=5).map("".join),
)
ignore_files = st.lists(lines, max_size=5).map("\n".join)


def listed_by_git(root: Path) -> set[str]:
    command = [*GIT, "ls-files", "--others", "--exclude-standard", "-z"]
    out = subprocess.run(command, cwd=root, env=ENVIRONMENT, capture_output=True, check=True)
    return {path for path in os.fsdecode(out.stdout).split("\0") if path}


def make_tree(root: Path, files: set[str]) -> list[str]:
    """Create the files; a name that is already a file cannot be a directory too."""
    for path in sorted(files):
        target = root / path
        if any(parent.is_file() for parent in target.parents) or target.is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("x\n")
    return sorted({d for d, _, _ in os.walk(root) if "/.git" not in d})


@given(
    st.sets(paths, min_size=3, max_size=14),
    st.lists(ignore_files, min_size=1, max_size=3),
    ignore_files,
    st.randoms(use_true_random=False),
)
@example({"foo/a", "foo/b", "foo/ab/a"}, ["foo/**\n!foo/a"], "", None)
@example({"a/b", "ab", "a/a.py"}, ["*\n!*/\n!*.py"], "", None)
@example({"b/b/a", "a", "ab"}, ["b**/a"], "x y ", None)
@settings(max_examples=120, deadline=None)
def test_the_files_listed_are_those_git_lists(
    files: set[str], ignores: list[str], exclude: str, random: object
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        subprocess.run([*GIT, "init", "-q"], cwd=root, env=ENVIRONMENT, check=True)
        (root / ".git" / "info").mkdir(exist_ok=True)
        (root / ".git" / "info" / "exclude").write_text(exclude)
        directories = make_tree(root, files)
        for number, content in enumerate(ignores):
            directory = directories[0] if number == 0 else random.choice(directories)  # type: ignore[attr-defined]  # None only with one
            (Path(directory) / ".gitignore").write_text(content)

        assert {path for path, _ in Tree(root, Rules(exclude=())).files()} == listed_by_git(root)
