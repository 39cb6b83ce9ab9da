from __future__ import annotations

import pytest

from vectors.import_lines import references
from vectors.imports import are_paired, closeness, may_import


def means(path: str, text: str, target: str) -> bool:
    return may_import(path, target) and any(each.means(target) for each in references(path, text))


@pytest.mark.parametrize(
    ("path", "statement", "target"),
    [
        ("src/flask/app.py", "from .globals import request", "src/flask/globals.py"),
        ("src/flask/app.py", "from . import (\n    json,  # ours\n    cli,\n)", "src/flask/cli.py"),
        ("src/flask/json/tag.py", "from ..app import Flask", "src/flask/app.py"),
        ("tests/test_app.py", "import flask", "src/flask/__init__.py"),
        ("tests/test_app.py", "from flask.json import tag", "src/flask/json/tag.py"),
        ("a.py", "import os, b as c", "b.py"),
        ("a.py", "def late():\n    import b", "b.py"),
        ("lib/app.js", "const utils = require('./utils');", "lib/utils.js"),
        ("source/core/a.ts", "import type {B} from '../b.js';", "source/b.ts"),
        ("src/a.tsx", 'export * from "./widgets"', "src/widgets/index.tsx"),
        ("src/a.ts", "import {x} from '@/core/x'", "src/core/x.ts"),
        ("a/b.go", 'import (\n\t"fmt"\n\th "github.com/o/r/helpers/text"\n)', "helpers/text/x.go"),
        ("src/test/java/com/x/A.java", "import com.x.util.B;", "src/main/java/com/x/util/B.java"),
        ("src/A.java", "import static com.x.B.make;", "src/com/x/B.java"),
        ("crates/core/src/main.rs", "mod flags;", "crates/core/src/flags/mod.rs"),
        ("src/a/mod.rs", "pub(crate) mod b;", "src/a/b.rs"),
        ("src/a/b.rs", "use super::c::{D, E};", "src/a/c.rs"),
        ("src/a/b.rs", "use crate::x::y::Z;", "src/x/y.rs"),
        ("lib/sinatra.rb", "require 'sinatra/main'", "lib/sinatra/main.rb"),
        ("lib/a/b.rb", "require_relative '../c'", "lib/c.rb"),
        ("src/format.cc", '#include "fmt/format-inl.h"', "include/fmt/format-inl.h"),
        ("tools/a.sh", 'source "$ZSH/lib/git.zsh"', "lib/git.zsh"),
        ("a.sh", ". ./b.sh", "b.sh"),
        ("tests/AppTest.php", "use Slim\\Routing\\Route;", "Slim/Routing/Route.php"),
        ("a.php", "require_once __DIR__ . '/lib/b.php';", "lib/b.php"),
    ],
)
def test_a_statement_means_the_file_it_names(path: str, statement: str, target: str) -> None:
    assert means(path, f"{statement}\n", target)


@pytest.mark.parametrize(
    ("path", "statement", "other"),
    [
        ("src/flask/app.py", "import logging", "src/flask/logging.py"),  # absolute since Python 3
        ("src/flask/app.py", "from .globals import request", "src/other/globals.py"),
        ("src/flask/app.py", "# from .globals import request", "src/flask/globals.py"),
        ("a.py", "import b", "b.js"),
        ("lib/app.js", "require('debug')", "lib/debug.js"),  # a package, not a file
        ("a/b.go", 'import "github.com/o/r/helpers"', "a/helpers.go"),
        ("a/b.go", 'import "github.com/o/r/helpers"', "helpers/x_test.go"),
        ("src/a.c", '#include "x.h"', "src/x.c"),
        ("src/a.cc", "#include <vector>", "src/vector.cc"),
    ],
)
def test_a_statement_means_no_other_file(path: str, statement: str, other: str) -> None:
    assert not means(path, f"{statement}\n", other)


@pytest.mark.parametrize(
    ("one", "other", "paired"),
    [
        ("src/app.py", "tests/test_app.py", True),
        ("a/x.go", "a/x_test.go", True),
        ("src/x.ts", "src/x.test.ts", True),
        ("src/x.ts", "src/__tests__/x.ts", True),
        ("main/Foo.java", "test/FooTest.java", True),
        ("lib/x.rb", "spec/x_spec.rb", True),
        ("lib/app.js", "test/app.js", True),
        ("src/latest.py", "src/la.py", False),
        ("src/app.py", "lib/app.py", False),
        ("tests/test_app.py", "other/test_app.py", False),
        ("src/app.py", "tests/test_app.js", False),
    ],
)
def test_a_test_and_what_it_tests_go_by_their_names(one: str, other: str, *, paired: bool) -> None:
    assert are_paired(one, other) == are_paired(other, one) == paired


def test_closeness_counts_what_paths_begin_and_end_with() -> None:
    assert closeness("a/b/c.py", "a/b/d.py") == 2
    assert closeness("src/main/X.java", "src/test/X.java") == 2
    assert closeness("a.py", "b.py") == 0
