from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from indexer_trees import HashEncoder

from contracts.errors import FatalError
from indexer.chunk import chunk_file, cut_issue
from indexer.issue_store import build_issues
from indexer.issues import ISSUE, Issue, issues_in
from vectors.collection import Collection

if TYPE_CHECKING:
    from pathlib import Path

OURS = {
    "id": "A-1",
    "title": "Lease lapses",
    "body": "a\r\n\r\nb",
    "state": "open",
    "labels": ["bug"],
}
GITHUB = {
    "id": 99,
    "number": 7,
    "title": "Typo",
    "body": None,
    "labels": [{"name": "docs", "color": "fff"}],
    "url": "https://api.example.org/7",
    "html_url": "https://example.org/7",
    "user": {"login": "x"},
}


def lines(*issues: dict[str, object]) -> str:
    return "\n".join(map(json.dumps, issues)) + "\n"


def test_both_shapes_are_read() -> None:
    issues = issues_in("all.jsonl", lines(OURS, GITHUB))
    assert issues is not None
    (first, ours), (second, github) = issues
    assert (first, second) == (1, 2)
    assert (ours.path, ours.text) == ("A-1", "# Lease lapses (open, bug)\n\na\n\nb")
    assert (github.path, github.text) == ("7", "# Typo (docs)\n\nhttps://example.org/7")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("issues.json", lines(OURS)),
        ("a.jsonl", lines({"title": "no name"})),
        ("a.jsonl", lines(OURS, {"query": "x"})),
        ("a.jsonl", lines(OURS) + "{"),
        ("a.jsonl", "\n"),
    ],
)
def test_other_files_are_no_issues(path: str, text: str) -> None:
    assert issues_in(path, text) is None
    assert all(chunk.kind != ISSUE for chunk in chunk_file(path, text))


def test_every_part_of_a_long_issue_carries_its_title() -> None:
    body = "\n\n".join(f"paragraph {n} " + "word " * 60 for n in range(9))
    chunks = cut_issue(Issue(id=1, title="Lease lapses", body=body))
    assert len(chunks) > 2
    assert {(chunk.kind, chunk.symbol) for chunk in chunks} == {(ISSUE, "Lease lapses")}
    assert all(f"paragraph {n} " in "".join(c.text for c in chunks) for n in range(9))


def test_a_watched_file_of_issues_is_cut_line_by_line() -> None:
    chunks = chunk_file("tracker.jsonl", lines(OURS) + "\n" + lines(GITHUB))
    assert [(c.start_line, c.end_line, c.symbol) for c in chunks] == [
        (1, 1, "Lease lapses"),
        (3, 3, "Typo"),
    ]


def test_a_store_holds_each_issue_under_its_name(tmp_path: Path) -> None:
    issues = [
        Issue(id="A-1", title="Lease lapses", body="renewed late"),
        Issue(number=7, title="x"),
    ]
    report = build_issues(issues, tmp_path, HashEncoder())
    assert (report.collection, report.files, report.chunks) == ("issues", 2, 2)
    opened = Collection.open(tmp_path, "issues")
    (hit,) = opened.search("lease renewed", None)
    assert (hit.collection, hit.path, hit.kind, hit.symbol) == (
        "issues",
        "A-1",
        "issue",
        "Lease lapses",
    )
    build_issues(issues[1:], tmp_path, HashEncoder())
    assert list(Collection.open(tmp_path, "issues").files()) == ["7"]


@pytest.mark.parametrize(
    ("issues", "complaint"),
    [
        ([Issue(title="x")], "neither id nor number"),
        ([Issue(id=1, title="x"), Issue(number=1, title="y")], "more than one issue is called 1"),
    ],
)
def test_issues_without_a_name_of_their_own_are_refused(
    tmp_path: Path, issues: list[Issue], complaint: str
) -> None:
    with pytest.raises(FatalError, match=complaint):
        build_issues(issues, tmp_path, HashEncoder())
    assert not list(tmp_path.iterdir())
