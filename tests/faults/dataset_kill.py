"""Kills a writer before each change it makes: `python -m tests.faults.dataset_kill WORK FOLDER`.

Prints how many of the kills left the old content, and how many the new.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from chaos.interrupt import Interrupted
from learning.dataset import Counts, Dataset
from learning.parts import read_manifest
from tests.learning_records import MINUTE, T0, decided, outcome

if TYPE_CHECKING:
    from collections.abc import Callable

WORK: dict[str, Callable[[Dataset], int]] = {
    "append": lambda dataset: dataset.append(
        [decided("t-2", T0 + 2)], [outcome("t-2"), outcome("t-1", "failed")]
    ),
    "compact": lambda dataset: dataset.compact(),
    "tidy": lambda dataset: dataset.tidy(MINUTE, now_ms=T0 + 9 * MINUTE),
}
KNOWN = {
    "append": (Counts(2, 1, 1), Counts(3, 3, 2)),
    "compact": (Counts(2, 1, 1), Counts(2, 1, 1)),
    "tidy": (Counts(2, 1, 1), Counts(1, 1, 1)),
}


def prepare(root: Path) -> None:
    dataset = Dataset(root)
    dataset.append([decided("t-1")])
    dataset.append([decided("t-0", T0 + 1)], [outcome("t-1", at_ms=T0 + 1)])


def main(work: str, folder: Path) -> None:
    prepared, root = folder / "prepared", folder / "root"
    prepare(prepared)
    version, old = read_manifest(prepared).version, Dataset(prepared).fingerprint()

    def write() -> None:
        WORK[work](Dataset(root))

    left: Counter[str] = Counter()
    for point in count(1):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(prepared, root)
        # How many changes there are may differ: DuckDB shares them among its threads as it likes.
        with Interrupted(write, point) as writer:
            done = not writer.call
        dataset = Dataset(root)
        state = "old" if dataset.version == version else "new"
        left[state] += 1
        assert dataset.version in (version, version + 1), point
        assert dataset.counts() == KNOWN[work][state == "new"], point
        assert dataset.fingerprint(version) == old, point
        # Whoever comes next is not held up by what was left behind.
        WORK[work](dataset)
        assert dataset.counts() == KNOWN[work][1], point
        assert dataset.fingerprint(version) == old, point
        if done:
            break
    sys.stdout.write(msgspec.json.encode(left).decode())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
