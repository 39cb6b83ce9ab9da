"""English inflections, so that a term written once is found in its other forms."""

from __future__ import annotations

_VOWELS = "aeiou"
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_SHORTEST = 3


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
