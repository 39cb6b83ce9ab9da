"""Rules-only throughput of one worker process beside the bare loop, in turn: A B A B.

`python -m bench.throughput [--peers] [--repetitions N] [--scale F] [--json]`. With `--peers`,
FastStream, Celery, dramatiq and taskiq take part in the same rounds.
"""

from __future__ import annotations

import argparse
import subprocess

from bench.contenders import BARE_LOOP, CORTEX, PEERS, PEERS_PYTHON
from bench.drain import alternate
from bench.report import show, table

PEER_PACKAGES = ("faststream", "celery", "dramatiq", "taskiq", "taskiq-redis", "redis", "hiredis")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies every task count")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    contenders = (BARE_LOOP, CORTEX, *(PEERS if options.peers else ()))
    rates = alternate(contenders, options.repetitions, options.scale)
    ours = rates[CORTEX.name]
    rows = [(name, f"{rate:,.0f}", f"{ours / rate:.2f}") for name, rate in rates.items()]
    markdown = table(("one worker process", "tasks/s", "Cortex ÷ it"), rows)
    if options.peers:
        markdown += "\n\npeers: " + ", ".join(_peer_versions())
    show(
        {"tasks_per_s": rates, "bare_loop_over_cortex": rates[BARE_LOOP.name] / ours},
        markdown,
        as_json=options.json,
    )


def _peer_versions() -> list[str]:
    answer = subprocess.run(
        [PEERS_PYTHON, "-m", "pip", "list", "--format", "freeze"],
        check=True,
        capture_output=True,
        text=True,
    )
    pinned = (line.split("==") for line in answer.stdout.splitlines())
    return [f"{name} {version}" for name, version in pinned if name in PEER_PACKAGES]


if __name__ == "__main__":
    main()
