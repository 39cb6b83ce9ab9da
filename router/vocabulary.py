"""Words and phrases that are found in text whatever their inflection."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_words = re.compile(r"[^\W_]+").findall
# Lower-cases ASCII and turns whatever is neither letter nor digit into a space.
_SPACED = bytes(
    ord(chr(code).lower()) if chr(code).isalnum() else ord(" ") for code in range(128)
).ljust(256)

_VOWELS = "aeiou"
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_SHORTEST = 3

# Forms of a term as " the words of it ", and the term.
_Phrase = tuple[str, int]


def tokenize(text: str) -> list[str]:
    """Split into lower-case runs of letters and digits."""
    if text.isascii():  # nearly always, and several times as fast
        return text.encode().translate(_SPACED).decode().split()
    words: list[str] = _words(text.lower())
    return words


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Terms by all of their forms. Looking up takes time linear in the text.

    Attributes:
        words: form of a word -> the terms it is a form of.
        phrases: first two words of a form of a phrase -> the forms beginning so, and their terms.
        heads: first words of phrases.
    """

    words: dict[str, tuple[int, ...]]
    phrases: dict[tuple[str, str], tuple[_Phrase, ...]]
    heads: frozenset[str]

    @classmethod
    def of(cls, forms: Iterable[tuple[str, int]]) -> Vocabulary:
        """Index forms.

        Args:
            forms: pairs of a form, as `tokenize` would split it joined by spaces, and its term.
        """
        words: defaultdict[str, tuple[int, ...]] = defaultdict(tuple)
        phrases: defaultdict[tuple[str, str], tuple[_Phrase, ...]] = defaultdict(tuple)
        for form, term in forms:
            first, *rest = form.split()
            if rest:
                phrases[first, rest[0]] += ((f" {form} ", term),)
            else:
                words[first] += (term,)
        return cls(dict(words), dict(phrases), frozenset(head for head, _ in phrases))

    def find(self, tokens: list[str]) -> dict[int, None]:
        """Return the terms found, each once: words as they come, then phrases."""
        # Mapped in C: this is most of what a routed task costs.
        found = dict.fromkeys(chain.from_iterable(filter(None, map(self.words.get, tokens))))
        if not self.heads.isdisjoint(tokens):
            begun = [*filter(None, map(self.phrases.get, pairwise(tokens)))]
            if begun:
                line = f" {' '.join(tokens)} "
                for form, term in dict.fromkeys(chain.from_iterable(begun)):
                    if form in line:
                        found[term] = None
        return found


def term_forms(text: str) -> set[str]:
    """Return a word or phrase in all its forms; a phrase's first and last words are inflected."""
    first, *rest = text.split()
    if not rest:
        return inflections(first)
    *between, last = rest
    return {
        " ".join((head, *between, tail))
        for head in inflections(first)
        for tail in inflections(last)
    }


def inflections(word: str) -> set[str]:
    """Return the word with its plural, third person, past and -ing forms.

    Forms are generated generously: one that is not English costs a dictionary entry and matches
    nothing. Words shorter than three letters, or with anything but ASCII letters, stay alone.

    Args:
        word: lower case.
    """
    if len(word) < _SHORTEST or not (word.isascii() and word.isalpha()):
        return {word}
    return {word, _plural(word)} | _verb_forms(word)


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(_SIBILANTS) else "s")


def _verb_forms(word: str) -> set[str]:
    if word.endswith("e"):
        return {word + "d", word[:-1] + "ing"}
    if word.endswith("y") and word[-2] not in _VOWELS:
        return {word[:-1] + "ied", word + "ing"}
    forms = {word + "ed", word + "ing"}
    if word[-1] not in "aeiouwxy" and word[-2] in _VOWELS and word[-3] not in _VOWELS:
        forms |= {word + word[-1] + "ed", word + word[-1] + "ing"}
    return forms
