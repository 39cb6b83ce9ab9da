"""The job every contender does: the same tasks, the same keyword route, the same decision.

Imports nothing beyond the standard library and orjson, so that peers run it in their own
environment.
"""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_261_101
CONSUMER = "bench"
GROUP = "workers"
DEFAULT_MASTER = "coordinator-master"
MASTERS = (
    "coordinator-master",
    "development-master",
    "security-master",
    "inventory-master",
    "cicd-master",
)

KEYWORDS = {
    "security-master": "vulnerability cve authentication token password audit permission encrypt",
    "development-master": "bug feature refactor implement crash function test parser",
    "inventory-master": "repository catalog inventory document metadata dependency list license",
    "cicd-master": "build deploy pipeline release workflow container rollback cache",
    "coordinator-master": "plan prioritise assign coordinate schedule roadmap",
}
MASTER_OF = {word: master for master, words in KEYWORDS.items() for word in words.split()}
_KEYWORD = re.compile(rb"\b(?:" + "|".join(MASTER_OF).encode() + rb")\b", re.IGNORECASE)
_MASTER_OF_BYTES = {word.encode(): master for word, master in MASTER_OF.items()}

_VERBS = ("Fix", "Review", "Add", "Investigate", "Update", "Remove", "Document", "Speed up")
_PLACES = (
    "in the login form",
    "of the billing service",
    "for the mobile client",
    "before the next milestone",
    "that fails on Windows",
    "reported by two customers",
    "in module storage/engine.py",
)


def tasks(count: int) -> Iterator[tuple[str, str]]:
    """Yield `count` pairs of task id and description, the same ones every time."""
    choose = random.Random(SEED)
    words = list(MASTER_OF)
    for number in range(count):
        subject = f"{choose.choice(words)} and {choose.choice(('error handling', 'logging'))}"
        text = f"{choose.choice(_VERBS)} the {subject} {choose.choice(_PLACES)} (#{number})"
        yield f"bench-{number:07d}", text


def route(description: bytes) -> str:
    """Return the master named by the first keyword in the text."""
    found = _KEYWORD.search(description)
    return DEFAULT_MASTER if found is None else _MASTER_OF_BYTES[found[0].lower()]


def decide(task_id: bytes, description: bytes) -> tuple[str, bytes]:
    """Return the chosen master and the decision as JSON."""
    master = route(description)
    decision = {
        "task_id": task_id.decode(),
        "timestamp": time.time(),
        "description": description.decode(),
        "selected_master": master,
        "method": "rule-based",
        "confidence": 1.0,
    }
    return master, orjson.dumps(decision)
