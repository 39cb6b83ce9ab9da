"""Whatever the text, chunks cover it, in order, within bounds."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.chunk import chunk_file

SUFFIXES = (
    *("py", "sh", "md", "js", "ts", "tsx", "go", "rs", "java", "json", "yaml", "txt", ""),
    *("c", "cpp", "cs", "php", "rb"),
)
MAX_CHARS = 80

snippets = st.sampled_from(
    [
        "def f(x):\n    return x\n",
        "class A:\n    def m(self):\n        pass\n\n    @property\n    def n(self): ...\n",
        "func (r *Recv) M() {\n\tgo f()\n}\n",
        "impl<T> Tr for Foo<T> {\n    fn a() {}\n}\n",
        "export class X {\n  m() { return `a${b}`; }\n}\n",
        "foo() {\n  cat <<EOF\nx\nEOF\n}\n",
        "# Title\n\ntext\n\n## Sub\n\n```py\n# no\n```\n",
        "Set\n===\n\n- a\n  - b\n\n> q\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "/* c */ public class A { void b() {} }\n",
        "x = [" + "1, " * 60 + "]\n",
        "a" * 300 + "\n",
        "\n\n   \n",
        "}}} ((( [[[ ''' \"\"\" ``` <<<\n",
        "\r\t\x0b\x0c\x85\u2028\ufeff\x00\n",
        "<A b={c}>d</A>\n",
        "---\ntitle: x\n---\n",
    ]
)
texts = st.one_of(
    st.text(max_size=400),
    st.lists(st.one_of(snippets, st.text(max_size=30)), max_size=14).map("".join),
)


@given(texts, st.sampled_from(SUFFIXES))
@example("\ud800 lone surrogate", "py")
@example("(" * 5000, "py")
@example("[" * 3000 + "\n", "md")
@example("a" * 3000 + "\n}\n", "js")
@example("x = [\n" + "]\n\n" * 300, "py")
@settings(max_examples=1500, deadline=None)
def test_chunks_cover_every_line_in_order_within_bounds(text: str, suffix: str) -> None:
    lines = text.split("\n")
    chunks = chunk_file(f"dir/file.{suffix}", text, max_chars=MAX_CHARS)

    covered: dict[int, str] = {}
    previous_end = 0
    for chunk in chunks:
        one_line = chunk.start_line == chunk.end_line
        assert chunk.text.strip()
        assert len(chunk.text) <= MAX_CHARS + MAX_CHARS // 10
        assert chunk.start_line > previous_end or (one_line and chunk.start_line == previous_end)
        assert chunk.start_line <= chunk.end_line <= len(lines)
        previous_end = chunk.end_line
        if one_line:
            covered[chunk.start_line] = covered.get(chunk.start_line, "") + chunk.text
        else:
            for number, line in enumerate(chunk.text.split("\n"), chunk.start_line):
                covered[number] = line
            assert number == chunk.end_line
    for number, line in enumerate(lines, 1):
        if line.strip():
            assert covered[number].split() == line.split() or len(line) > MAX_CHARS
            assert "".join(covered[number].split()) == "".join(line.split())
    assert chunk_file(f"dir/file.{suffix}", text, max_chars=MAX_CHARS) == chunks
