from __future__ import annotations

import pytest

from indexer.chunk import chunk_file
from indexer.languages import kind_of, language_of

PYTHON = '''"""Doc."""

import os


# Why it is here.
@decorated
def top(a):
    return os.path.join(a, "some padding so that this does not fit with its neighbour")


class Consumer:
    """What it is."""

    def claim(self):
        return "a body that is long enough to stand on its own, away from the others"

    def read(self):
        return "another body that is long enough to stand on its own, away from the rest"
'''


def symbols(path: str, text: str, max_chars: int = 150) -> list[str | None]:
    return [chunk.symbol for chunk in chunk_file(path, text, max_chars=max_chars)]


def test_python_definitions_stay_whole_with_their_comments_and_qualified_names() -> None:
    chunks = chunk_file("a.py", PYTHON, max_chars=150)

    assert [(c.symbol, c.start_line, c.end_line) for c in chunks] == [
        (None, 1, 3),
        ("top", 6, 9),
        ("Consumer", 12, 16),
        ("Consumer.read", 18, 19),
    ]
    assert chunks[1].text.startswith("# Why it is here.\n@decorated\ndef top(a):")


def test_a_definition_too_big_for_one_chunk_keeps_its_symbol_in_each_part() -> None:
    body = "\n".join(f"    total += term_{i}(x)" for i in range(40))

    assert set(symbols("a.py", f"def big(x):\n{body}\n")) == {"big"}


def test_small_neighbours_are_merged() -> None:
    text = "".join(f"def f{i}():\n    pass\n\n" for i in range(6))

    assert len(chunk_file("a.py", text)) == 1


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.go", "package a\n\nfunc (r *Recv[T]) M() {\n\treturn\n}\n", "Recv.M"),
        ("a.rs", "use a;\nuse b;\n\nimpl<T> Tr for Foo<T> {\n  fn a() {}\n}\n", "Foo"),
        ("a.ts", "import a\nimport b\nexport const arrow = () => {\n  1\n}\n", "arrow"),
        ("a.tsx", "import a\nimport b\nexport function App() {\n  return <A/>\n}\n", "App"),
        ("a.js", "import a\nimport b\nclass A {\n  method() { return 1 }\n}\n", "A"),
        ("A.java", "package a;\nimport b;\nclass A {\n  void b() { return; }\n}\n", "A"),
        ("a.sh", "set -eu\nset -x\nfoo() {\n  echo some words\n}\n", "foo"),
        (
            "a.c",
            "#include <a.h>\n#include <b.h>\nstatic int *foo(int a) {\n  return a;\n}\n",
            "foo",
        ),
        ("a.h", "#include <a.h>\n#include <b.h>\nclass A {\n  int b() { return 1; }\n};\n", "A"),
        ("a.cc", "#include <a.h>\n#include <b.h>\nint A::b(int c) {\n  return c;\n}\n", "A::b"),
        ("a.cs", "using A;\nusing B;\nclass C {\n  int D() { return 1; }\n}\n", "C"),
        ("a.php", "<?php\nuse A;\nuse B;\nclass C {\n  function d() { return 1; }\n}\n", "C"),
        ("a.rb", "require 'a'\nrequire 'b'\nmodule A\n  def b; 'some words'; end\nend\n", "A"),
        ("run", "#!/usr/bin/env bash\nset -x\nfoo() {\n  echo some words\n}\n", "foo"),
    ],
)
def test_every_language_names_its_definitions(path: str, text: str, expected: str) -> None:
    assert symbols(path, text, max_chars=48)[-1] == expected


def test_markdown_symbols_are_heading_paths() -> None:
    text = "# Top\n\nwords of the top\n\n## Sub `x`\n\nwords of the part below\n"

    assert symbols("a.md", text, max_chars=40) == ["Top", "Top > Sub `x`"]


def test_a_file_without_grammar_is_cut_at_blank_lines() -> None:
    text = "a: 1\nb: 2\n\nc: 3\nd: 4\n"

    assert [c.text for c in chunk_file("a.yaml", text, max_chars=12)] == [
        "a: 1\nb: 2",
        "c: 3\nd: 4",
    ]


def test_one_overlong_line_is_cut_between_words() -> None:
    chunks = chunk_file("a.txt", "word " * 100, max_chars=50)

    assert {(c.start_line, c.end_line) for c in chunks} == {(1, 1)}
    assert all(c.text.split() == ["word"] * 10 for c in chunks)


def test_an_overlong_line_is_cut_whatever_closes_it() -> None:
    chunks = chunk_file("bundle.js", f"{'f(x);' * 1000}\n}}\n", max_chars=100)
    assert max(len(chunk.text) for chunk in chunks) <= 110
    assert chunks[-1].text == "}"


def test_text_that_ends_the_parsers_process_is_cut_all_the_same() -> None:
    for text in ("{\U00100000", "a{1..\U00100000}", "cat <<E\n$\U00100000\nE\n", "[ -\U00100000 ]"):
        chunks = chunk_file("brace.sh", text)
        assert "\n".join(chunk.text for chunk in chunks) == text.strip()
    [chunk] = chunk_file("names.sh", "grüß() {\n  echo {\U00100000}\n}\n")
    assert chunk.symbol == "grüß"


def test_text_that_stalls_the_parser_is_cut_by_lines() -> None:
    assert len(chunk_file("a.py", "x = [\n" * 20_000)) >= 150


def test_the_text_to_embed_does_not_depend_on_the_path() -> None:
    before, after = (chunk_file(path, PYTHON) for path in ("a/b.py", "c/d/e.py"))

    assert [c.embedded_text for c in before] == [c.embedded_text for c in after]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.py", "code"),
        ("README.md", "doc"),
        ("notes.txt", "doc"),
        ("a.C", "code"),
        ("deploy.yaml", "config"),
        ("Dockerfile.dev", "config"),
        (".env", "config"),
        ("LICENSE", "text"),
    ],
)
def test_kinds(path: str, kind: str) -> None:
    assert kind_of(path, language_of(path)) == kind
