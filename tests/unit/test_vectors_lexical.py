from __future__ import annotations

import numpy as np
import pytest

from vectors.lexical import (
    PATH_MARK,
    chunk_terms,
    idf,
    query_terms,
    query_weight,
    saturation,
    terms,
)
from vectors.types import Chunk


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("parseHTTPHeader", ["pars", "http", "header"]),
        ("snake_case_name", ["snake", "case", "name"]),
        ("SHA256 getURLs()", ["sha", "256", "get", "url"]),
        ("running runs", ["run", "run"]),
        ("größe 日本語", ["größe", "日本語"]),
        ("a b x ! @", []),
        ("\ud800 \x00 login", ["login"]),
        ("", []),
    ],
)
def test_text_becomes_stemmed_parts_of_words(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_symbol_counts_twice_and_path_is_a_field_of_its_own() -> None:
    chunk = Chunk(start_line=1, end_line=2, kind="code", text="login", symbol="login")
    counts, length = chunk_terms(terms("src/login.py"), chunk)
    assert counts["login"] == 1 + 2 + 1
    assert counts[PATH_MARK + "login"] == 1
    assert length == 4 + 2  # "src" and "py" stand in the path too


def test_counts_stay_within_what_a_posting_holds() -> None:
    chunk = Chunk(start_line=1, end_line=1, kind="text", text="log " * 70_000)
    assert chunk_terms([], chunk).counts["log"] == 65_535


def test_long_queries_are_cut() -> None:
    text = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(400))
    assert len(query_terms(text)) == 64
    assert query_terms("cache caches caching session") == ["cach", "session"]


def test_bm25_agrees_with_the_formula_worked_by_hand() -> None:
    # 2 of 10 chunks; 3 occurrences in a chunk twice as long as the mean.
    assert idf(2, 10) == pytest.approx(1.4816, abs=1e-4)  # ln(1 + 8.5 / 2.5)
    part = saturation(np.array([3], np.uint16), np.array([20], np.int32), 10.0)
    assert part[0] == pytest.approx(3 * 2.2 / (3 + 1.2 * (0.25 + 0.75 * 2)), abs=1e-6)


def test_rare_terms_weigh_more_and_none_weighs_less_than_nothing() -> None:
    assert idf(0, 10) > idf(1, 10) > idf(9, 10) > idf(10, 10) > 0


def test_a_number_that_stands_nowhere_says_nothing_any_other_word_does() -> None:
    assert query_weight("3113", 0, 10) == 0
    assert query_weight("3113", 1, 10) == idf(1, 10)
    assert query_weight("ocean", 0, 10) == idf(0, 10)
    assert query_weight("ocean", 4, 10) == idf(4, 10)
