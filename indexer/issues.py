"""Issues of a tracker, from lines of JSON. Pure.

A line is `{"id", "title", "body", "state"?, "labels"?, "url"?}`, or an issue as GitHub's REST API
and `gh issue list --json` have it (`number`, `html_url`, labels as objects).
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

ISSUES = "issues"
"""The collection issues are in unless another is named."""

ISSUE = "issue"
"""Kind of a chunk that is a part of an issue."""

_SUFFIXES = (".jsonl", ".ndjson")


class _Label(Struct, frozen=True):
    name: str


class Issue(Struct, frozen=True, kw_only=True):
    """One issue as it stands on a line.

    Attributes:
        id: what it is called; a `number` goes before it.
        body: Markdown.
        state: such as `open`.
        html_url: goes before `url`, which GitHub's API uses for another address.
    """

    title: str
    id: str | int | None = None
    number: int | None = None
    body: str | None = None
    state: str | None = None
    labels: tuple[str | _Label, ...] | None = None
    url: str | None = None
    html_url: str | None = None

    @property
    def path(self) -> str:
        """What it is found under; empty if it has no name."""
        name = self.id if self.number is None else self.number
        return "" if name is None else str(name)

    @property
    def text(self) -> str:
        """What is searched: title, state and labels, address, body."""
        labels = [each if isinstance(each, str) else each.name for each in self.labels or ()]
        known = ", ".join(filter(None, [self.state, *labels]))
        head = f"# {self.title}" + (f" ({known})" if known else "")
        parts = filter(None, [head, self.html_url or self.url, self.body])
        return "\n\n".join(parts).replace("\r\n", "\n")


def issues_in(path: str, text: str) -> list[tuple[int, Issue]] | None:
    """The issues of a file with the 1-based numbers of their lines; None if it holds other things.

    Args:
        path: of the file, which must end in `.jsonl` or `.ndjson`.
        text: the file.
    """
    if not path.lower().endswith(_SUFFIXES):
        return None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    try:
        issues = [(number, _DECODER.decode(line)) for number, line in lines]
    except msgspec.DecodeError:
        return None
    return issues if issues and all(issue.path for _, issue in issues) else None


_DECODER = msgspec.json.Decoder(Issue)
