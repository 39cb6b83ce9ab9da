"""What people file: texts of known kinds, from templates and vocabularies of their own."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_SLOT = re.compile(r"\{(\w+)\}")
_TYPOS = 0.08  # share of texts with two letters swapped
_SHOUTED = 0.05  # share of texts in another case than they were written


@dataclass(frozen=True, slots=True)
class Kind:
    """Tasks that take the same skill.

    Attributes:
        words: slot of a template -> what may stand there.
        later: whether nobody files such tasks before the world drifts.
    """

    name: str
    templates: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    later: bool

    def text(self, rng: random.Random) -> str:
        """Write one task, now and then with a typo."""
        drawn = _SLOT.sub(
            lambda slot: rng.choice(self.words[slot[1]]), rng.choice(self.templates)
        ).strip()
        if rng.random() < _SHOUTED:
            drawn = rng.choice((drawn.upper(), drawn.lower(), drawn.capitalize()))
        return _mistyped(drawn, rng) if rng.random() < _TYPOS else drawn


def read_kinds() -> tuple[Kind, ...]:
    """Read `tasks.toml`."""
    file = tomllib.loads(files("chaos.world").joinpath("tasks.toml").read_text("utf-8"))
    return tuple(
        Kind(
            name=kind.pop("name"),
            templates=tuple(kind.pop("templates")),
            later=kind.pop("later", False),
            words={slot: tuple(words) for slot, words in (file["shared"] | kind).items()},
        )
        for kind in file["kind"]
    )


def _mistyped(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
