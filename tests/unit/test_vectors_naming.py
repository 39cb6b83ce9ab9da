from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectors import naming
from vectors.naming import names, or_named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("how is the fabapurifa made", [("fabapurifa",)]),
        ("Fix parse_retry_after", [("pars", "retri", "after")]),
        ("Fix parseRetryAfter, then ParseRetryAfter", [("pars", "retri", "after")]),
        ("change LC_ALL", [("lc", "all")]),
        ("what is the weather like in the mountains today", []),
        ("two currencies were mailed and closed", []),
        ("wake me at 11am on the 14th", []),
        ("a_b and __init__", []),
        ("", []),
    ],
)
def test_a_name_is_a_word_that_is_not_ordinary(text: str, named: list[tuple[str, ...]]) -> None:
    assert names(text) == named


@given(st.text())
def test_any_text_names_a_bounded_number_of_things(text: str) -> None:
    assert len(names(text)) <= 32
    assert all(names(text))


def test_a_very_long_text_is_not_read_to_its_end() -> None:
    assert names("the " * 10_000 + "fabapurifa") == []
    assert len(names(" ".join(f"fabapurifa{'z' * n}" for n in range(500)))) == 32


def test_what_fits_anyway_is_not_looked_at() -> None:
    asked: list[tuple[str, ...]] = []

    def stand_together(terms: object) -> bool:
        asked.append(terms)  # type: ignore[arg-type]
        return True

    texts = ["fabapurifa", "gebapurilo", "weather"]
    passes = or_named(np.array([True, False, False]), texts, stand_together)
    assert passes.tolist() == [True, True, False]
    assert asked == [("gebapurilo",)]


def test_without_the_vocabulary_only_compounds_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_ordinary", frozenset[str])
    assert names("the fabapurifa of parse_header") == [("pars", "header")]
