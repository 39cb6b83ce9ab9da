"""Which files of its collections a master would rather see: a mild weight on their scores."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

Weight = Annotated[float, Meta(gt=0, le=4)]


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A collection that context is searched in, and what its scores are multiplied by."""

    name: Annotated[str, Meta(min_length=1)]
    weight: Weight = 1.0


class Preference(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files a master would rather see.

    Attributes:
        paths: patterns as of `fnmatch`, cases alike; one without `/` matches the file's name, one
            with it the whole path, where `*` crosses `/` too and a leading `**/` also matches none.
        weight: what the score of such a file is multiplied by.
    """

    paths: Annotated[tuple[str, ...], Meta(min_length=1)]
    weight: Weight


def weight_of(preferences: Sequence[Preference], path: str) -> float:
    """What the score of a file is multiplied by: the weight of the first preference it matches."""
    for preference in preferences:
        names, paths = _patterns(preference.paths)
        if names.match(path.rpartition("/")[2]) or paths.match(path):
            return preference.weight
    return 1.0


@lru_cache(maxsize=256)
def _patterns(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """One expression for names and one for paths."""
    names = [each for each in patterns if "/" not in each]
    paths = [each for each in patterns if "/" in each]
    paths += [each.removeprefix("**/") for each in paths if each.startswith("**/")]
    return _any_of(names), _any_of(paths)


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)", re.IGNORECASE)
