"""Reports: whole, harmless whatever the texts are, and the same for the same figures."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import FatalError
from learning.answers import Answers
from learning.evaluate import Measured, evaluate
from learning.examples import NONE, Example
from learning.plots import MOST_LABELS, shown_labels
from learning.reasons import Neighbour, Term, Wrong
from learning.rendering import Case, Paragraph, Table, to_html, to_markdown
from learning.report import content, summary, write_report

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = (
    "<script>alert('x')</script> & \"<b onload=1>\" $\\frac{1}{0}$ | `ls` ![a](b) [c](d) ﷽ 漢字"
)
VOID = {"meta", "br", "img", "hr"}


class Page(HTMLParser):
    """Reads a page; fails where a tag is not closed by its own."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def measured(labels: tuple[str, ...] = ("a-master", "b-master"), text: str = "a text") -> Measured:
    """Figures of a router that is right three times in four, lines out of scope among them."""
    random = np.random.default_rng(0)
    truth = random.integers(0, len(labels), 300)
    right = random.random(300) < 0.75
    probabilities = random.dirichlet(np.full(len(labels), 0.5), 300).astype(np.float32)
    for row, label, is_right in zip(probabilities, truth, right, strict=True):
        best, wanted = row.argmax(), label if is_right else (label + 1) % len(labels)
        row[[best, wanted]] = row[[wanted, best]]
    top = probabilities.max(1)
    said = Answers(labels, probabilities.argmax(1), probabilities, top, top < 0.5)
    names = [NONE if number % 10 == 0 else labels[each] for number, each in enumerate(truth)]
    examples = [Example(text, name) for name in names]
    found = evaluate(examples, said, model="20261122-abc", rules=said, fallback=said)
    wrong = Wrong(
        number=1,
        text=text,
        label=labels[0],
        answer=labels[1],
        abstained=False,
        confidence=0.9,
        probability=0.05,
        parts={"words": 1.0, "rules": -0.5},
        for_answer=[Term(text, 0.5)],
        for_label=[Term("other", 0.25)],
        rules=labels[0],
        rule_terms=(text,),
        neighbours=[Neighbour(text, labels[1], 0.7)],
    )
    return found._replace(evaluation=msgspec.structs.replace(found.evaluation, wrong=[wrong]))


def test_a_page_holds_everything_and_loads_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, measured(), "lines.jsonl")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    page = Page(path.read_text("utf-8"))
    assert page.tags.count("svg") == 4
    for said in ("Evaluation of 20261122-abc on lines.jsonl", "Out of scope", "surest 90 %"):
        assert said.lower() in page.text.lower()
    loaded = [value for name, value in page.attributes if name in {"src", "href", "xlink:href"}]
    assert all((value or "").startswith("#") for value in loaded)
    assert not {"script", "link", "iframe", "img", "image", "object"} & {*page.tags}


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_text_of_others_stays_text(suffix: str, tmp_path: Path) -> None:
    labels = (HOSTILE, "b-master")
    path = tmp_path / f"report.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(path, measured(labels, HOSTILE), HOSTILE)
    written = path.read_text("utf-8")
    assert "<script" not in written
    assert "<b onload" not in written
    if suffix == "html":
        assert HOSTILE in Page(written).text
    else:
        assert not re.search(r"(?<!\\)[`\[]", re.sub(r"!\[\w+\]\(<[\w-]+\.png>\)", "", written))


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_can_be_read_back_from_a_page(title: str, text: str) -> None:
    blocks = [Paragraph(text), Table((text, text), [(text, text)]), Case(text, [(text, text)])]
    page = Page(to_html(title, blocks, {}))
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert plain in page.text.replace("\r\n", "\n").replace("\r", "\n")
    assert {"p", "table", "blockquote", "dl"} <= {*page.tags}
    assert page.tags.count("td") == 2


@given(st.text(max_size=30))
def test_any_text_stays_in_its_cell_of_a_markdown_table(text: str) -> None:
    written = to_markdown("t", [Table(("one", "two"), [(text, text)])], str)
    rows = [line for line in written.split("\n") if line.startswith("|")]
    assert len(rows) == 3
    assert len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", rows[2]))) == 3


def test_markdown_has_its_pictures_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_report(path, measured(), "lines.jsonl")
    named = re.findall(r"\]\(<(.+?)>\)", path.read_text("utf-8"))
    assert sorted(named) == sorted(
        f"report-{each}.png" for each in ("confusion", "reliability", "risk", "roc")
    )
    for name in named:
        picture = (tmp_path / name).read_bytes()
        assert picture.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", picture[16:24])
        assert min(width, height) > 200
        assert len({*zlib.decompress(_pixels(picture))}) > 20  # something is drawn


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_the_same_figures_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name / f"report.{suffix}", measured(), "lines.jsonl")
    for one in (tmp_path / "one").iterdir():
        assert one.read_bytes() == (tmp_path / "two" / one.name).read_bytes()


def test_settings_of_matplotlib_are_put_back(tmp_path: Path) -> None:
    before = {**mpl.rcParams}
    write_report(tmp_path / "report.html", measured(), "lines.jsonl")
    assert {**mpl.rcParams} == before


def test_of_many_labels_those_with_most_mistakes_are_shown() -> None:
    labels = tuple(f"label {number}" for number in range(60))
    evaluation = measured(labels).evaluation
    shown = shown_labels(evaluation)
    assert len(shown) == MOST_LABELS
    assert shown == [each for each in evaluation.confusion if each in shown]

    def mistakes(label: str) -> int:
        row, right = evaluation.confusion[label], evaluation.confusion[label][label]
        return (
            sum(row.values())
            + sum(each[label] for each in evaluation.confusion.values())
            - 2 * right
        )

    assert min(map(mistakes, shown)) >= max(
        mistakes(each) for each in evaluation.confusion if each not in shown
    )
    (table,) = [
        each
        for each in content(evaluation, measured(labels).curves)
        if isinstance(each, Table) and "precision" in each.columns
    ]
    assert len(table.rows) == MOST_LABELS


def test_what_matters_most_is_said_in_sentences() -> None:
    found = measured().evaluation
    said = summary(found)
    assert said[0].startswith(f"{100 * found.accuracy:.1f} % of 300 lines")
    assert "not to be told from the rules" in said[1]
    flattered = msgspec.structs.replace(found, seen_in_training=7, unknown_labels=["x", "y"])
    assert "x, y" in summary(flattered)[2]
    assert summary(flattered)[3].startswith("7 lines stand in the training file")


def test_a_report_without_a_place_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"\.html or \.md"):
        write_report(tmp_path / "report.pdf", measured(), "x")
    with pytest.raises(FatalError, match="no folder"):
        write_report(tmp_path / "nowhere" / "report.md", measured(), "x")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(FatalError, match="cannot write"):
        write_report(tmp_path / "taken.html", measured(), "x")


def _pixels(png: bytes) -> bytes:
    """Join the image data chunks of a PNG file."""
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    return data
