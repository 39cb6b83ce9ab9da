"""Weighted terms that speak for a master: what decides in the control arm and where models fail.

A term is a word, a phrase or a pattern. Words and phrases are looked up in a dictionary holding
their inflections; patterns run as one RE2 set, which takes linear time on any text. The sums of
matched weights become probabilities through a softmax whose temperature calibrates them
(Guo et al. 2017, "On Calibration of Modern Neural Networks").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from math import exp
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import re2
from msgspec import Meta, Struct

from contracts.errors import FatalError
from router.vocabulary import Vocabulary, term_forms, tokenize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.masters import Masters

_REMEMBERED = 8192  # outcomes kept; sums of weights recur far more than descriptions do
_DECIMALS = 4  # finer than any calibration; every decision is written four times over
_PATTERN_MEMORY = 64 << 20  # bytes RE2 may use for its automaton, far above what rules need


class RuleScore(Struct, frozen=True, gc=False):
    """What the rules think of one description.

    Attributes:
        selected: name of the master with the highest score; the fallback if that is not just one.
        confidence: the score of `selected`, 0-1.
        scores: probability per master; sums to 1 but for rounding.
    """

    selected: str
    confidence: float
    scores: dict[str, float]


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


# Sum of weights per master -> what that comes to.
_Outcome = Callable[[tuple[int, ...]], tuple[str, float, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Rules:
    """Compiled rules. Scoring never raises and takes time linear in the text."""

    version: str
    _no_weight: tuple[int, ...]  # a zero for each master
    _outcome: _Outcome
    _texts: tuple[str, ...]  # of each term
    _weights: tuple[tuple[int, int], ...]  # of each term: which master, how much
    _vocabulary: Vocabulary
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
        terms = _terms(file, masters.names)
        patterns, pattern_terms = _compile_patterns(file, masters.names)
        meaning = msgspec.json.encode((file, masters.names, masters.fallback))
        outcome = partial(_outcome, masters.names, masters.fallback, file.temperature)
        return cls(
            version=sha256(meaning).hexdigest()[:12],
            _no_weight=(0,) * len(masters.names),
            _outcome=lru_cache(maxsize=_REMEMBERED)(outcome),
            _texts=tuple([term.text for term in (*terms, *pattern_terms)]),
            _weights=tuple([(term.master, term.weight) for term in (*terms, *pattern_terms)]),
            _vocabulary=Vocabulary.of(_forms(terms)),
            _patterns=patterns,
            _first_pattern=len(terms),
        )

    def score(self, description: str) -> RuleScore:
        """Weigh one description.

        Args:
            description: any text; case does not matter.
        """
        totals = [*self._no_weight]
        weights = self._weights
        for term in self._find(description):
            master, weight = weights[term]
            totals[master] += weight
        selected, confidence, scores = self._outcome(tuple(totals))
        return RuleScore(selected, confidence, scores.copy())

    def explain(self, description: str) -> tuple[str, ...]:
        """Return the terms that were found, each once, as they stand in the rules."""
        return tuple(map(self._texts.__getitem__, self._find(description)))

    def _find(self, description: str) -> dict[int, None]:
        found = self._vocabulary.find(tokenize(description))
        # Letters and spaces hold nothing a pattern is for.
        if not description.replace(" ", "").isalpha():
            for pattern in sorted(self._patterns.Match(description.encode(errors="replace")) or ()):
                found[self._first_pattern + pattern] = None
        return found


def _outcome(
    names: tuple[str, ...], fallback: str, temperature: float, totals: tuple[int, ...]
) -> tuple[str, float, dict[str, float]]:
    """Return who leads, by how much, and the softmax of the totals; see `_Outcome`."""
    best = max(totals)
    selected = names[totals.index(best)] if totals.count(best) == 1 else fallback
    odds = [exp((total - best) / temperature) for total in totals]
    whole = sum(odds)
    scores = {name: round(odd / whole, _DECIMALS) for name, odd in zip(names, odds, strict=True)}
    return selected, scores[selected], scores


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
        _check_spelling(group)


def _check_spelling(group: _Group) -> None:
    for term in (*group.words, *group.phrases):
        if not term or term != " ".join(tokenize(term)):
            raise _fatal(f"{term!r} must be lower-case words with one space between them")
    for term in group.words:
        if " " in term:
            raise _fatal(f"{term!r} is more than one word; it belongs under phrases")
    for term in group.phrases:
        if " " not in term:
            raise _fatal(f"{term!r} is one word; it belongs under words")


def _terms(file: _File, names: tuple[str, ...]) -> list[_Term]:
    """Return the words and phrases of the file."""
    return [
        _Term(text, names.index(group.master), group.weight)
        for group in file.rule
        for text in (*group.words, *group.phrases)
    ]


def _forms(terms: list[_Term]) -> Iterator[tuple[str, int]]:
    """Yield each term's forms, less those written out as another term of the same master."""
    written = {(term.text, term.master) for term in terms}
    for index, term in enumerate(terms):
        for form in term_forms(term.text):
            if form == term.text or (form, term.master) not in written:
                yield form, index


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
                re2.compile(text, options)  # says what is wrong, where Add does not
            except re2.error as error:
                raise _fatal(f"pattern {text!r}: {error}") from error
            patterns.Add(text)
            terms.append(_Term(text, names.index(group.master), group.weight))
    patterns.Compile()
    return patterns, terms
