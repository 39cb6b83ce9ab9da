"""A repository asked what its later commits were about, and what must not be known beforehand."""

from __future__ import annotations

import os
import subprocess
from itertools import permutations
from pathlib import Path

import msgspec
import pytest

from chaos.faulty import WordEncoder
from contracts.errors import FatalError
from indexer.evaluation.cut import cut, refuse_leaks
from indexer.evaluation.figures import Answer, figures, per_language
from indexer.evaluation.run import evaluate
from indexer.gitlog import blobs_of, git, read_blobs, read_commits, read_history
from indexer.remembering import build_history
from vectors.manifest import list_collections
from vectors.snapshot import verify

ENCODER = WordEncoder()
DOUBLED = "def login(token):\n    return token + token\n"
FASTER = "def render(rows):\n    return list(rows)\n"


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.clock = 1_700_000_000
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, subject: str, **files: str | None) -> str:
        for name, text in files.items():
            path = self.folder / name.replace("__", "/").replace("_py", ".py")
            path.parent.mkdir(exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.head

    def branch(self, name: str) -> None:
        self._git("checkout", "--quiet", "-B", name)

    def merge(self, name: str) -> None:
        self._git("checkout", "--quiet", "main")
        self._git("merge", "--quiet", "--no-ff", "--message", f"merge the branch {name}", name)

    @property
    def head(self) -> str:
        return git(self.folder, "rev-parse", "HEAD").decode().strip()

    def _git(self, *arguments: str) -> None:
        self.clock += 86_400
        env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull}
        for role in ("GIT_AUTHOR", "GIT_COMMITTER"):
            env |= dict.fromkeys((f"{role}_NAME", f"{role}_EMAIL"), "a@b.invalid")
            env[f"{role}_DATE"] = f"{self.clock} +0000"
        subprocess.run(
            ["git", "-C", self.folder, *arguments],
            check=True,
            capture_output=True,
            env=env,
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit(
        "begin with three files",
        auth_py="def login(token):\n    return token\n",
        table_py="def render(rows):\n    return rows\n",
        a__socket_py="def connect(host):\n    return host\n",
    )
    made.commit("login checks its token twice", auth_py=DOUBLED)
    return made


def test_the_tree_is_cut_where_enough_follow(repository: Repository, tmp_path: Path) -> None:
    before = repository.head
    repository.commit("render the table faster", table_py=FASTER)
    repository.commit("too short", table_py="x = 1\n")
    repository.commit("a file that is new", new_py="y = 1\n")
    repository.commit("connect to the socket again", a__socket_py="z = 1\n", new_py="y = 2\n")
    found = cut(repository.folder, 2)
    assert found.revision == before
    assert [(each.commit.subject, each.relevant) for each in found.questions] == [
        ("render the table faster", {"table.py"}),
        ("connect to the socket again", {"a/socket.py"}),
    ]
    assert [each.subject for each in found.history()] == [
        "login checks its token twice",
        "begin with three files",
    ]
    found.extract(tmp_path / "tree")
    assert sorted(
        path.relative_to(tmp_path / "tree").as_posix()
        for path in (tmp_path / "tree").rglob("*")
        if path.is_file()
    ) == ["a/socket.py", "auth.py", "table.py"]
    assert "list" not in (tmp_path / "tree" / "table.py").read_text()


def test_a_branch_begun_before_the_cut_and_merged_after_it_is_asked_for(
    repository: Repository,
) -> None:
    repository.branch("side")
    repository.commit("socket work on a branch", a__socket_py="q = 1\n")
    subprocess.run(["git", "-C", repository.folder, "checkout", "-q", "main"], check=True)
    repository.commit("table work on the trunk", table_py="t = 1\n")
    trunk = repository.head
    repository.merge("side")
    found = cut(repository.folder, 1)
    assert found.revision == trunk
    assert [each.commit.subject for each in found.questions] == ["socket work on a branch"]
    assert "socket work on a branch" not in {each.subject for each in found.history()}


def test_a_planted_leak_is_refused(repository: Repository) -> None:
    repository.commit("render the table faster", table_py=FASTER)
    found = cut(repository.folder, 1)
    refuse_leaks(found, found.history())
    for planted in read_commits(repository.folder, "HEAD"):
        if planted.sha not in {each.sha for each in found.history()}:
            with pytest.raises(FatalError, match="is not before the cut"):
                refuse_leaks(found, [*found.history(), planted])
            break
    else:
        pytest.fail("nothing came after the cut")


def test_a_history_that_is_too_short_says_how_long_it_is(repository: Repository) -> None:
    with pytest.raises(FatalError, match="1 commits can be asked for, not 9"):
        cut(repository.folder, 9)
    with pytest.raises(FatalError, match="not a git repository"):
        cut(Path("/dev"), 1)


def test_past_work_answers_what_no_word_of_a_file_does(repository: Repository) -> None:
    noise = {f"a{number}_py": f"v = {number}\n" for number in range(20)}
    repository.commit("noise", **noise)
    for turn in range(4):
        repository.commit(f"frobnicate harder than before {turn}", auth_py=f"w = {turn}\n")
    with_memory, without = (
        evaluate(repository.folder, ENCODER, count=2, memory=memory) for memory in (True, False)
    )
    assert with_memory.figures.n == without.figures.n == 2
    assert with_memory.figures.hit_at_5.value == 1.0
    assert with_memory.figures.context_hit_share_at_5.value == 1.0
    assert without.figures.hit_at_5.value < 1.0
    assert (with_memory.commits, without.commits) == (5, 0)


def test_live_learns_from_each_answer_and_only_then(repository: Repository) -> None:
    for turn in range(3):
        repository.commit(f"frobnicate harder than before {turn}", auth_py=f"w = {turn}\n")
    live, not_live = (
        evaluate(repository.folder, ENCODER, count=3, live=live) for live in (True, False)
    )
    assert not_live.figures.hit_at_1.value == 0.0
    assert live.figures.hit_at_1.value == pytest.approx(2 / 3, abs=1e-4)


def test_questions_from_elsewhere_are_counted_apart(repository: Repository) -> None:
    repository.commit("render the table faster", table_py=FASTER)
    # Of this encoder's texts only long ones that share no word lie far from each other.
    strange = " ".join(map("".join, permutations("qvxzjk", 3)))
    foreign = [strange, "login checks its token", strange.upper()]
    found = evaluate(repository.folder, ENCODER, count=1, foreign=foreign)
    assert (found.figures.n, found.foreign) == (1, 3)
    assert found.foreign_empty is not None
    assert found.foreign_empty.value == pytest.approx(2 / 3, abs=1e-4)
    assert evaluate(repository.folder, ENCODER, count=1).foreign_empty is None


def test_figures() -> None:
    answers = [
        Answer(frozenset({"a.py", "b.go"}), ("x", "a.py", "b.go"), ("x", "x"), 0.001),
        Answer(frozenset({"c.py"}), ("x",) * 6 + ("c.py",), ("c.py",), 0.002),
        Answer(frozenset({"d"}), (), (), 0.003),
    ]
    found = msgspec.to_builtins(figures(answers))
    assert {name: each["value"] for name, each in found.items() if name != "n"} == {
        "hit_at_1": 0.0,
        "hit_at_5": 0.3333,
        "hit_at_10": 0.6667,
        "mrr_at_10": 0.2143,
        "recall_at_5": 0.3333,
        "recall_at_10": 0.6667,
        "context_hit_share_at_5": 0.3333,
        "empty": 0.3333,
    }
    del found["n"]
    assert all(each["low"] <= each["value"] <= each["high"] for each in found.values())
    assert {suffix: each.n for suffix, each in per_language(answers).items()} == {
        ".py": 2,
        ".go": 1,
        "none": 1,
    }


def test_what_a_clone_does_not_hold_is_none(repository: Repository) -> None:
    blobs = blobs_of(repository.folder, "HEAD")
    assert sorted(blobs) == ["a/socket.py", "auth.py", "table.py"]
    contents = [*read_blobs(repository.folder, [blobs["auth.py"], "0" * 40, blobs["table.py"]])]
    assert contents[0] is not None
    assert contents[0].startswith(b"def login")
    assert contents[1] is None
    assert contents[2] is not None


def test_a_folder_sees_the_history_of_its_own_files(repository: Repository, tmp_path: Path) -> None:
    repository.commit("socket and table at once", a__socky_py="s = 1\n", table_py="t = 1\n")
    [newest, oldest] = read_history(repository.folder / "a", 9)
    assert (newest.subject, newest.files) == ("socket and table at once", ("socky.py",))
    assert oldest.files == ("socket.py",)
    assert [len(each.files) for each in read_history(repository.folder, 2)] == [2, 1]
    assert read_history(tmp_path, 9) == []
    store = tmp_path / "store"
    assert build_history(repository.folder, store, "code", ENCODER) == 3
    assert verify(store, "code-history") == []
    assert build_history(tmp_path, store, "other", ENCODER) == 0
    assert list_collections(store) == ["code-history"]
