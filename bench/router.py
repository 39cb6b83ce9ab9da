"""CPU cost of deciding by rules alone: assignment, rules and a Routing each, in batches.

`route_us` is the cost as deployed; the others are what an experiment with more to it takes.

Run as `python -m bench.router`.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from contracts.messages import Arm, Namespace, RolloutConfig
from router.assignment import buckets
from router.masters import Masters
from router.policy import Policy
from router.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]


def fastest(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs: what the code costs when nothing disturbs it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def accuracy(rules: Rules, data: Path) -> float:
    lines = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    right = sum(rules.score(line["text"]).selected == line["label"] for line in lines)
    return right / len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, default=ROOT / "ops/data/demo_tasks.jsonl")
    parser.add_argument("--data", type=Path, help='labelled lines {"text", "label"} to score')
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()

    masters = Masters.parse((ROOT / "router/masters.toml").read_text("utf-8"))
    rules = Rules.parse((ROOT / "router/rules.toml").read_text("utf-8"), masters)

    def policy(**more: Any) -> Policy:  # noqa: ANN401 - fields of the configuration
        return Policy(masters, rules, None, RolloutConfig(percentage=0.1, **more))

    plain, covered = policy(), policy(coverage=0.5)
    cut = policy(namespace=Namespace(id="bench", range=(0.0, 0.5)))
    arms = policy(arms=tuple(Arm(name=f"a{n}", buckets=(n, n + 1_000)) for n in (0, 1_000, 2_000)))
    by_repository = policy(attribute="metadata.repo", force=True)
    lines = arguments.tasks.read_text("utf-8").splitlines()[: arguments.batch]
    texts = [json.loads(line)["description"] for line in lines]
    ids = [f"t{uuid.uuid4()}" for _ in texts]
    metadata = [Raw(f'{{"repo": "r-{n}", "labels": ["a", "b"]}}'.encode()) for n in range(len(ids))]

    def per_task(run: Callable[[], object]) -> float:
        return round(fastest(run, arguments.repeats) / len(texts) * 1e6, 2)

    result: dict[str, float] = {
        "batch": len(texts),
        "mean_length": round(sum(map(len, texts)) / len(texts), 1),
        "assignment_us": per_task(lambda: buckets("router", ids)),
        "rules_us": per_task(lambda: [rules.score(text) for text in texts]),
        "route_us": per_task(lambda: plain.route(ids, texts, None, metadata)),
        "coverage_us": per_task(lambda: covered.route(ids, texts, None, metadata)),
        "namespace_us": per_task(lambda: cut.route(ids, texts, None, metadata)),
        "arms_us": per_task(lambda: arms.route(ids, texts, None, metadata)),
        "attribute_and_force_us": per_task(lambda: by_repository.route(ids, texts, None, metadata)),
    }
    if arguments.data:
        result["accuracy"] = round(accuracy(rules, arguments.data), 4)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
