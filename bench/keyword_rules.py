"""What keyword rules of the usual kind get right, beside ours, on labelled lines.

Run as `python -m bench.keyword_rules --data lines.jsonl`. The list of the system that Cortex
replaces is not at hand; this one is put together in its manner: some obvious words per master, a
word anywhere in the text counts, the first master with a hit takes the task, and the coordinator
takes what nobody claims. Its order is that of the risk: what could be a security matter is one.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from learning.bootstrap import accuracies, interval, resample
from learning.examples import read_examples
from learning.metrics import confusion_matrix, macro_f1
from router.masters import Masters
from router.rules import Rules

ROOT = Path(__file__).parents[1]

# Obvious words, not fitted to labelled lines.
KEYWORDS = {
    "security-master": ("security", "vulnerability", "auth", "encrypt", "permission", "audit"),
    "cicd-master": ("deploy", "pipeline", "build", "ci/cd", "release", "docker", "test"),
    "inventory-master": ("inventory", "catalog", "dependency", "document", "asset", "list"),
    "development-master": ("implement", "develop", "code", "feature", "bug", "refactor", "fix"),
}
DEFAULT = "coordinator-master"


def by_keyword(text: str) -> str:
    """Return the first master with a word in the text."""
    lowered = text.lower()
    hits = (name for name, words in KEYWORDS.items() if any(word in lowered for word in words))
    return next(hits, DEFAULT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()

    masters = Masters.parse((ROOT / "router/masters.toml").read_text("utf-8"))
    rules = Rules.parse((ROOT / "router/rules.toml").read_text("utf-8"), masters)
    names = masters.names
    for path in arguments.data:
        examples = read_examples(path)
        truth = np.array([names.index(each.label) for each in examples])
        answers = {
            "keywords": [by_keyword(each.text) for each in examples],
            "rules": [rules.score(each.text).selected for each in examples],
        }
        columns = [np.array([*map(names.index, given)]) for given in answers.values()]
        drawn = resample(truth, *columns)
        for number, (what, column) in enumerate(zip(answers, columns, strict=True)):
            found = {
                "data": path.name,
                "router": what,
                "n": len(truth),
                "accuracy": round(float((column == truth).mean()), 4),
                "interval": [round(end, 4) for end in interval(accuracies(drawn, number))],
                "macro_f1": round(macro_f1(confusion_matrix(truth, column, len(names))), 4),
                "answers": dict(Counter(answers[what]).most_common()),
            }
            print(json.dumps(found))


if __name__ == "__main__":
    main()
