"""Weighted terms that speak for a master: what decides in the control arm and where models fail.

A term is a word, a phrase or a pattern. Words and phrases are looked up in a dictionary holding
their inflections; patterns run as one RE2 set, which takes linear time on any text. The sums of
matched weights become probabilities through a softmax whose temperature calibrates them
(Guo et al. 2017, "On Calibration of Modern Neural Networks").
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from math import exp
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import re2
from msgspec import Meta, Struct

from contracts.errors import FatalError
from router.inflect import inflections

if TYPE_CHECKING:
    from router.masters import Masters

_words = re.compile(r"[^\W_]+").findall
_PATTERN_MEMORY = 64 << 20  # bytes RE2 may use for its automaton, far above what rules need


class RuleScore(Struct, frozen=True, gc=False):
    """What the rules think of one description.

    Attributes:
        selected: name of the master with the highest score; the fallback if that is not just one.
        confidence: the score of `selected`, 0-1.
        scores: probability per master; sums to 1.
        matched: the terms that were found, each once, as they stand in the rules.
    """

    selected: str
    confidence: float
    scores: dict[str, float]
    matched: tuple[str, ...]


class _Group(Struct, frozen=True, forbid_unknown_fields=True):
    """Terms of one master that share a weight."""

    master: str
    weight: int
    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    temperature: Annotated[float, Meta(gt=0)]
    rule: Annotated[tuple[_Group, ...], Meta(min_length=1)]


class _Term(Struct, frozen=True, gc=False):
    """A term as it stands in the file, and what it adds to which master (by position)."""

    text: str
    master: int
    weight: int


class _Entry(Struct, frozen=True, gc=False):
    """What a form in the dictionary stands for.

    Attributes:
        terms: positions of the terms it is a form of.
        span: number of words of the longest phrase that begins with it; 1 if none does.
    """

    terms: tuple[int, ...]
    span: int


@dataclass(frozen=True, slots=True)
class Rules:
    """Compiled rules. Scoring never raises and takes time linear in the text."""

    version: str
    _names: tuple[str, ...]
    _fallback: str
    _temperature: float
    _terms: tuple[_Term, ...]
    _entries: dict[str, _Entry]
    _patterns: Any  # re2.Set, which has no types
    _first_pattern: int  # position of the set's first pattern among the terms

    @classmethod
    def parse(cls, text: str, masters: Masters) -> Rules:
        """Compile the text of a `rules.toml`.

        Args:
            text: groups of `words`, `phrases` and `patterns` with a `master` and a whole `weight`,
                and the `temperature` that weights are divided by.
            masters: whom the rules may name.

        Raises:
            FatalError: the text is not TOML, a key is unknown or missing, a value is of the wrong
                kind, a group names an unknown master, a term stands twice under one master, or a
                pattern does not compile.
        """
        try:
            file = msgspec.toml.decode(text, type=_File)
        except msgspec.DecodeError as error:
            raise _fatal(str(error)) from error
        _check(file, masters)
        terms, entries = _dictionary(file, masters.names)
        patterns, pattern_terms = _compile_patterns(file, masters.names)
        meaning = msgspec.json.encode((file, masters.names, masters.fallback))
        return cls(
            version=sha256(meaning).hexdigest()[:12],
            _names=masters.names,
            _fallback=masters.fallback,
            _temperature=file.temperature,
            _terms=(*terms, *pattern_terms),
            _entries=entries,
            _patterns=patterns,
            _first_pattern=len(terms),
        )

    def score(self, description: str) -> RuleScore:
        """Weigh one description.

        Args:
            description: any text; case does not matter.
        """
        text = description.lower()
        # Letters and spaces need no tokenizer, and hold nothing a pattern is for.
        if text.replace(" ", "").isalpha():
            found = self._lookup(text.split())
        else:
            found = self._lookup(_words(text))
            for pattern in self._patterns.Match(text.encode(errors="replace")) or ():
                found[self._first_pattern + pattern] = None
        return self._weigh([self._terms[index] for index in found])

    def _lookup(self, words: list[str]) -> dict[int, None]:
        """Return the terms found, in order of appearance."""
        found: dict[int, None] = {}
        get = self._entries.get
        for position, word in enumerate(words):
            entry = get(word)
            if entry is None:
                continue
            for term in entry.terms:
                found[term] = None
            for end in range(position + 2, position + entry.span + 1):
                phrase = get(" ".join(words[position:end]))
                if phrase is not None:
                    for term in phrase.terms:
                        found[term] = None
        return found

    def _weigh(self, matched: list[_Term]) -> RuleScore:
        totals = [0] * len(self._names)
        for term in matched:
            totals[term.master] += term.weight
        best = max(totals)
        selected = (
            self._names[totals.index(best)] if totals.count(best) == 1 else self._fallback
        )
        odds = [exp((total - best) / self._temperature) for total in totals]
        whole = sum(odds)
        scores = {name: odd / whole for name, odd in zip(self._names, odds, strict=True)}
        return RuleScore(
            selected, scores[selected], scores, tuple([term.text for term in matched])
        )


def _fatal(problem: str) -> FatalError:
    return FatalError(f"rules: {problem}")


def _check(file: _File, masters: Masters) -> None:
    seen: set[tuple[str, str]] = set()
    for group in file.rule:
        if group.master not in masters.names:
            raise _fatal(f"{group.master!r} is none of {', '.join(masters.names)}")
        for term in (*group.words, *group.phrases, *group.patterns):
            if (group.master, term) in seen:
                raise _fatal(f"{term!r} stands under {group.master} more than once")
            seen.add((group.master, term))
        for term in (*group.words, *group.phrases):
            if term != " ".join(_words(term.lower())):
                raise _fatal(f"{term!r} must be lower-case words with one space between them")
        for term in group.words:
            if " " in term:
                raise _fatal(f"{term!r} is more than one word; write it under phrases")


def _dictionary(
    file: _File, names: tuple[str, ...]
) -> tuple[list[_Term], dict[str, _Entry]]:
    """Return the words and phrases, and the dictionary that finds them in any form.

    A form that is itself written out under a master is not also found as an inflection of another
    of that master's terms.
    """
    terms = [
        _Term(text, names.index(group.master), group.weight)
        for group in file.rule
        for text in (*group.words, *group.phrases)
    ]
    written = {(term.text, term.master) for term in terms}
    forms: defaultdict[str, list[int]] = defaultdict(list)
    spans: defaultdict[str, int] = defaultdict(lambda: 1)
    for index, term in enumerate(terms):
        for form in _forms(term.text):
            if form == term.text or (form, term.master) not in written:
                forms[form].append(index)
                first, *rest = form.split()
                spans[first] = max(spans[first], 1 + len(rest))
    return terms, {
        form: _Entry(tuple(forms.get(form, ())), spans[form]) for form in {*forms, *spans}
    }


def _forms(text: str) -> set[str]:
    """Return the forms of a word or phrase; of a phrase, its first and last words are inflected."""
    first, *rest = text.split()
    if not rest:
        return inflections(first)
    *between, last = rest
    return {
        " ".join((head, *between, tail))
        for head in inflections(first)
        for tail in inflections(last)
    }


def _compile_patterns(file: _File, names: tuple[str, ...]) -> tuple[Any, list[_Term]]:
    """Return the patterns as one RE2 set, and the terms in the set's order."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    patterns = re2.Set.SearchSet(options)
    terms: list[_Term] = []
    for group in file.rule:
        for text in group.patterns:
            try:
                patterns.Add(text)
            except re2.error as error:
                raise _fatal(f"pattern {text!r}: {error}") from error
            terms.append(_Term(text, names.index(group.master), group.weight))
    patterns.Compile()
    return patterns, terms
