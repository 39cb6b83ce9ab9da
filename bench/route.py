"""What `cortex route` takes for a decision once it is warm: encoder, rules, head, retrieval.

`python -m bench.route [--texts N] [--rounds N] [--store DIR] [--json]`, with OMP_NUM_THREADS=1.
One task at a time through what `cortex route --group treatment` opens, each another text, so that
no embedding is remembered. With `--store` (an index built by `cortex index build`) context is
attached too. The encoder works on a thread of its own, so the CPU's time is that of the process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.head import examples
from bench.report import show, table
from bench.timing import CALIBRATION, HEADER, calibrate, summary, timed
from contracts.encode import encode_decision
from contracts.settings import load
from ops.logs import log_to_stderr
from ops.tasks import single_task
from worker.offline import offline_handler
from worker.settings import Settings

if TYPE_CHECKING:
    from contracts.messages import Task
    from worker.handle import Handler

WARM_UP = 50
TARGET_MS = {"p50": 8.0, "p99": 25.0}

Times = tuple[list[int], list[int]]


class NotMeasuredError(Exception):
    """A decision was made without what was to be measured."""


def decide(handler: Handler, task: Task) -> bytes:
    [decision] = handler.decide([task], [time.perf_counter()], [1])
    return encode_decision(decision)


def one_round(settings: Settings, tasks: list[Task]) -> Times:
    with offline_handler(settings, "treatment") as handler:
        before, measured = tasks[:WARM_UP], tasks[WARM_UP:]
        decided = [json.loads(decide(handler, task)) for task in before]
        wanted = "ok" if settings.enable_rag else "disabled"
        if {each["context_status"] for each in decided} != {wanted}:
            raise NotMeasuredError(f"context is not {wanted!r}")
        if not any(each["method"] == "neural" for each in decided):
            raise NotMeasuredError("the model decided nothing")
        return timed((partial(decide, handler, task) for task in measured), time.process_time_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", help="a built index, to measure with context too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    log_to_stderr()
    tasks = [single_task(text) for text in examples(WARM_UP + options.texts)]
    found: dict[str, list[Times]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bare = {"CORTEX_DATA_DIR": folder, "ENABLE_RAG": "false"}
        kinds = {"encoder and head": load(Settings, bare)}
        if options.store:
            given = {"CORTEX_DATA_DIR": folder, "VECTORSTORE_PATH": options.store}
            kinds["encoder, head and context"] = load(Settings, given)
        for _ in range(options.rounds):
            for name, settings in kinds.items():
                found.setdefault(name, []).append(one_round(settings, tasks))
            times = timed([calibrate] * len(tasks), time.process_time_ns)
            found.setdefault(CALIBRATION, []).append(times)
    figures = {name: summary(each) for name, each in found.items()}
    rows = [(name, *each.cells(1_000, 2)) for name, each in figures.items()]
    targets = ", ".join(f"{name} < {target:g}" for name, target in TARGET_MS.items())
    markdown = f"{table(('one decision, ms', *HEADER), rows)}\n\nTarget: {targets}."
    show({name: each._asdict() for name, each in figures.items()}, markdown, as_json=options.json)


if __name__ == "__main__":
    main()
