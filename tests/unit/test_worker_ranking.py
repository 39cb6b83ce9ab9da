from __future__ import annotations

from pathlib import Path

import pytest

import router
from contracts.errors import FatalError
from router.masters import Masters
from router.preferences import Preference, Source, weight_of
from vectors.types import Hit
from worker.ranking import prefer

ONE = '[[master]]\nname = "a"\ndescription = "takes all"\n'


def master(text: str = "") -> Masters:
    return Masters.parse(f'fallback = "a"\n{ONE}{text}')


def hit(path: str, score: float, collection: str = "code", line: int = 1) -> Hit:
    return Hit(
        collection=collection,
        path=path,
        start_line=line,
        end_line=line,
        symbol=None,
        kind="code",
        text="",
        score=score,
    )


def ranked(text: str, *hits: Hit, k: int = 5) -> list[str]:
    return [each.path for each in prefer(hits, master(text).all[0], k)]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("Dockerfile*", "deploy/Dockerfile.worker", True),
        ("makefile", "Makefile", True),
        ("*.gradle", "a/b/build.gradle", True),
        ("**/.github/workflows/*", ".github/workflows/ci.yml", True),
        ("**/.github/workflows/*", "sub/.github/workflows/deep/ci.yml", True),
        ("docs/*", "docs/a.md", True),
        ("docs/*", "src/docs/a.md", False),
        ("Makefile", "Makefile/readme", False),
        ("LICEN[CS]E*", "LICENCE", True),
    ],
)
def test_patterns(pattern: str, path: str, *, matches: bool) -> None:
    prefers = [Preference(paths=(pattern,), weight=2.0)]
    assert weight_of(prefers, path) == (2.0 if matches else 1.0)


def test_the_first_preference_that_matches_counts() -> None:
    prefers = [Preference(paths=("*.md",), weight=1.5), Preference(paths=("a*",), weight=0.5)]
    assert [weight_of(prefers, path) for path in ("a.md", "a.py", "b.py")] == [1.5, 0.5, 1.0]


def test_a_preference_decides_between_equals_and_not_against_the_plainly_better() -> None:
    text = 'prefer = [{weight = 1.1, paths = ["Makefile"]}]\n'
    assert ranked(text, hit("a.py", 0.8), hit("Makefile", 0.78)) == ["Makefile", "a.py"]
    assert ranked(text, hit("a.py", 0.8), hit("Makefile", 0.7)) == ["a.py", "Makefile"]
    assert ranked("", hit("a.py", 0.8), hit("Makefile", 0.78)) == ["a.py", "Makefile"]


def test_collections_have_weights() -> None:
    text = 'collections = ["code", {name = "advisories", weight = 1.2}]\n'
    (one,) = master(text).all
    assert one.sources == (Source(name="code"), Source(name="advisories", weight=1.2))
    hits = [hit("a.py", 0.8), hit("cve.md", 0.7, "advisories")]
    found = prefer(hits, one, 5)
    assert [each.path for each in found] == ["cve.md", "a.py"]
    assert all(0 < each.score <= 1 for each in found)


def test_each_file_comes_before_a_second_place_of_any() -> None:
    hits = [hit("a.py", 0.9), hit("a.py", 0.8, line=9), hit("b.py", 0.2), hit("c.py", 0.1)]
    assert ranked("", *hits, k=3) == ["a.py", "b.py", "c.py"]
    assert ranked("", *hits, k=4) == ["a.py", "a.py", "b.py", "c.py"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("collections = [{weight = 2.0}]", "missing required field `name`"),
        ('collections = [{name = "x", weight = 0.0}]', "> 0"),
        ('collections = [{name = "x", colour = 1}]', "unknown field `colour`"),
        ("prefer = [{weight = 1.1, paths = []}]", "length >= 1"),
        ('prefer = [{paths = ["*"]}]', "missing required field `weight`"),
    ],
)
def test_a_wrong_preference_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(FatalError, match="masters: ") as caught:
        master(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("cicd-master", ".github/workflows/ci.yml"),
        ("cicd-master", "docker-compose.yml"),
        ("security-master", "requirements.txt"),
        ("security-master", "src/auth/login.py"),
        ("inventory-master", "CHANGELOG.md"),
        ("coordinator-master", "CONTRIBUTING.md"),
    ],
)
def test_shipped_masters_prefer_their_own_files_mildly(name: str, path: str) -> None:
    masters = Masters.parse((Path(router.__file__).parent / "masters.toml").read_text("utf-8"))
    (one,) = (each for each in masters.all if each.name == name)
    for score, first in ((0.49, path), (0.4, "x.c")):
        best, _ = prefer([hit("x.c", 0.5), hit(path, score)], one, 2)
        assert best.path == first
