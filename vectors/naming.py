"""What a text names: words that are no ordinary English, such as identifiers and made-up names.

The floor (`vectors.relevance`) looks at how well the five best chunks fit. A task that names one
function fits the one chunk which has it; where that is there, the text is about the collection,
however little the rest of it fits. Ordinary words are those of the packaged model's vocabulary
(WordPiece, 30,522 pieces; Devlin et al., "BERT", 2019): most that people write is in it, and of
what stands in code little.

`python -m bench.floor`, on eleven repositories: of questions about a word that stands in one file
alone 90 % are kept, and 79 without this; of those to a bank or a voice assistant 10 % and 8.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from vectors.lexical import terms
from vectors.model_source import vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    StandTogether = Callable[[Sequence[str]], bool]

_RUN = re.compile(r"\w+")
_COMPOUND = re.compile(r"[^\W_]_+[^\W_]|[a-z][A-Z]")
_SHORTEST = 4  # letters of a word that says something by itself
_MOST_RUNS, _MOST_NAMES = 1_000, 32  # of a text, so that the cost is bounded


def or_named(
    fits: NDArray[np.bool_], texts: Sequence[str], stand_together: StandTogether
) -> NDArray[np.bool_]:
    """Let pass what names something.

    Args:
        fits: shape (n,), texts that pass anyway.
        texts: n texts.
        stand_together: whether one chunk of the collection has all of the given terms.

    Returns:
        Shape (n,).
    """
    return np.array(
        [
            bool(fit) or any(map(stand_together, names(text)))
            for fit, text in zip(fits, texts, strict=True)
        ],
        np.bool_,
    )


def names(text: str) -> list[tuple[str, ...]]:
    """Terms of each word of a text that is no ordinary English, first ones first."""
    distinct = dict.fromkeys(_names(text))
    return list(islice(distinct, _MOST_NAMES))


def _names(text: str) -> Iterator[tuple[str, ...]]:
    for match in islice(_RUN.finditer(text), _MOST_RUNS):
        word = match.group()
        parts = tuple(terms(word))
        is_compound = len(parts) > 1 and _COMPOUND.search(word)
        if is_compound or (parts and _is_uncommon(word, parts[0])):
            yield parts


def _is_uncommon(word: str, stem: str) -> bool:
    if len(word) < _SHORTEST or not word.isalnum() or word[0].isdigit():
        return False
    # Inflections that the vocabulary lacks: "mailed", "expires", "currencies".
    forms = (word.lower(), stem, f"{stem}e", f"{stem}y", f"{stem[:-1]}y")
    ordinary = _ordinary()
    return bool(ordinary) and ordinary.isdisjoint(forms)


@lru_cache(maxsize=1)
def _ordinary() -> frozenset[str]:
    """Whole words of the vocabulary; nothing where the packaged model is not installed."""
    return frozenset(word for word in vocabulary() if word.isalpha())
