from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import router
from router.masters import Masters
from router.rules import Rules
from router.vocabulary import inflections, tokenize

FOLDER = Path(router.__file__).parent
MASTERS = Masters.parse((FOLDER / "masters.toml").read_text("utf-8"))
RULES = Rules.parse((FOLDER / "rules.toml").read_text("utf-8"), MASTERS)

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=500)
vocabulary = st.sampled_from(sorted(RULES._vocabulary.words))
sentences = st.lists(vocabulary, max_size=30).map(" ".join)


@given(anything | sentences)
def test_any_text_gets_a_distribution_over_the_masters(text: str) -> None:
    score = RULES.score(text)
    assert tuple(score.scores) == MASTERS.names
    assert math.isclose(sum(score.scores.values()), 1.0, abs_tol=5e-4)  # rounded to four decimals
    assert score.confidence == score.scores[score.selected]
    best = max(score.scores.values())
    assert score.confidence == best or score.selected == MASTERS.fallback


@given(sentences)
def test_case_and_spacing_change_nothing(text: str) -> None:
    spaced = f"  {text.upper().replace(' ', ' / ')} "
    assert RULES._vocabulary.find(tokenize(spaced)) == RULES._vocabulary.find(tokenize(text))


@given(sentences)
def test_saying_it_twice_changes_nothing(text: str) -> None:
    words = text.split()
    twice = [word for word in words for _ in range(2)]
    single = RULES._vocabulary.find(words).keys()
    doubled = RULES._vocabulary.find(twice).keys()
    phrases = set(single) ^ set(doubled)
    assert all(" " in RULES._texts[term] for term in phrases)  # doubling only parts phrases


@given(st.text(st.characters(codec="ascii"), max_size=200))
def test_both_tokenizers_agree_on_ascii(text: str) -> None:
    assert [*tokenize(text), "é"] == tokenize(f"{text} é")


@given(st.text(max_size=20).map(str.lower))
def test_a_word_is_a_form_of_itself(word: str) -> None:
    assert word in inflections(word)
