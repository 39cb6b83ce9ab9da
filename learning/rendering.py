"""A document of a few kinds of blocks, as HTML or Markdown. All text in it is taken as plain."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Heading(NamedTuple):
    """Begins a section."""

    text: str


class Paragraph(NamedTuple):
    """One paragraph."""

    text: str


class Table(NamedTuple):
    """A table; the first column names its rows, the others hold figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Picture(NamedTuple):
    """A picture by its name, and what it shows."""

    name: str
    caption: str


class Case(NamedTuple):
    """A quotation, and what is to be said of it."""

    quoted: str
    facts: Sequence[tuple[str, str]]


Block = Heading | Paragraph | Table | Picture | Case


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.6rem; margin-bottom: .3rem; overflow-wrap: anywhere }}
h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .6rem }}
p {{ max-width: 44rem; margin: .4rem 0 }}
table {{ border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums }}
th, td {{ padding: .25rem 1.2rem .25rem 0; text-align: right; border-bottom: 1px solid #e4e7eb }}
th:first-child, td:first-child {{ text-align: left; overflow-wrap: anywhere }}
th {{ font-weight: 600; border-color: #7b8794 }}
figure {{ margin: .8rem 0 1.4rem }}
figure svg {{ max-width: 100%; height: auto; display: block }}
figcaption {{ color: #52606d; max-width: 44rem }}
blockquote {{ margin: 1.2rem 0 .3rem; padding-left: .8rem; border-left: 3px solid #c2571a;
  white-space: pre-wrap; overflow-wrap: anywhere }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: 0 0 0 1rem }}
dt {{ color: #52606d }}
dd {{ margin: 0; overflow-wrap: anywhere }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def to_html(title: str, blocks: Sequence[Block], pictures: dict[str, bytes]) -> str:
    """Render one page that loads nothing and runs nothing.

    Args:
        title: of the page.
        blocks: its content.
        pictures: SVG files by name.
    """
    body = "\n".join(_html(block, pictures) for block in blocks)
    return _PAGE.format(title=escape(title), body=body)


def to_markdown(title: str, blocks: Sequence[Block], file_of: Callable[[str], str]) -> str:
    """Render GitHub's Markdown.

    Args:
        title: of the page.
        blocks: its content.
        file_of: where the picture of a name stands, relative to the page.
    """
    return (
        "\n\n".join([f"# {_plain(title)}", *(_markdown(each, file_of) for each in blocks)]) + "\n"
    )


def _html(block: Block, pictures: dict[str, bytes]) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Table(columns, rows):
            head = _row("th", columns)
            return f"<table>\n{head}\n" + "\n".join(_row("td", row) for row in rows) + "\n</table>"
        case Picture(name, caption):
            svg = pictures[name].decode()
            drawing = svg[svg.index("<svg") :]  # a prologue has no place inside a page
            return f"<figure>\n{drawing}<figcaption>{escape(caption)}</figcaption>\n</figure>"
        case Case(quoted, facts):
            listed = "".join(
                f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>\n" for name, fact in facts
            )
            return f"<blockquote>{escape(quoted)}</blockquote>\n<dl>\n{listed}</dl>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _markdown(block: Block, file_of: Callable[[str], str]) -> str:
    match block:
        case Heading(text):
            return f"## {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Table(columns, rows):
            rule = ["---", *["---:"] * (len(columns) - 1)]
            lines = [[*map(_plain, columns)], rule, *([*map(_plain, row)] for row in rows)]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Picture(name, caption):
            return f"![{_plain(name)}](<{file_of(name)}>)\n\n{_plain(caption)}"
        case Case(quoted, facts):
            listed = "\n".join(f"- {_plain(name)}: {_plain(fact)}" for name, fact in facts)
            return f"> {_plain(quoted)}\n\n{listed}"


_marks = re.compile(r"([\\`*_\[\]|~#!$]|^[-+=](?=[-+= ])|(?<=^\d)[.)])")


def _plain(text: str) -> str:
    """Return text on one line in which nothing is markup."""
    return _marks.sub(r"\\\1", escape(" ".join(text.split()), quote=False))
