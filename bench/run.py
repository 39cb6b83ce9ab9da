"""Every figure of one's own in turn, as markdown: `python -m bench.run [--store DIR]`.

With `--store` (an index built by `cortex index build`) decisions with context and the start of
a worker with retrieval are measured too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store")
    options = parser.parse_args()
    with_store = ["--store", options.store] if options.store else []
    parts = {
        "Throughput": ["bench.throughput"],
        "Latency": ["bench.latency"],
        "Head": ["bench.head"],
        "Route": ["bench.route", *with_store],
        "Start-up": ["bench.startup", *with_store],
    }
    for title, module in parts.items():
        print(f"\n### {title}\n", flush=True)
        subprocess.run([sys.executable, "-m", *module], check=True)


if __name__ == "__main__":
    main()
