"""The matrix of faults: what a row is, how it is played, and the table of what came of it."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HISTORY = "producer.log"  # the checker's own
_LAST_WORDS = 1_500  # characters of each log that a row leaves when it breaks off


@dataclass(frozen=True, slots=True)
class Run:
    """What a row is given.

    Attributes:
        directory: empty, the row's own, removed afterwards.
        chance: the row's only source of randomness.
        full: False for the bounded part that the tests run.
    """

    directory: Path
    chance: random.Random
    full: bool

    def scale(self, bounded: int, full: int) -> int:
        """Choose a size by how much is asked for."""
        return full if self.full else bounded


class Result(Struct, frozen=True, kw_only=True):
    """What came of a row.

    Attributes:
        runs: how many times the fault was injected.
        lost: accepted tasks that are nowhere, beyond what the row's promise allows.
        doubled: tasks decided more than once, beyond what the row's promise allows.
        recovery: seconds from the fault's end until everything was done; the worst.
        violations: what else did not hold.
        note: a short phrase for the table.
    """

    runs: int
    lost: int = 0
    doubled: int = 0
    recovery: float | None = None
    violations: tuple[str, ...] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything promised was so, with the fault really injected."""
        return not (self.lost or self.doubled or self.violations) and self.runs > 0


def judged(found: Iterable[str]) -> tuple[int, int, tuple[str, ...]]:
    """Split what the checker found into counts of lost and doubled, and everything else."""
    found = list(found)
    lost = sum(line.startswith("lost: ") for line in found)
    doubled = sum(line.startswith("doubled: ") for line in found)
    return lost, doubled, tuple(found[:10])


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a fault, what must hold under it, and how to find out.

    Attributes:
        name: for the command line and the table.
        promise: one line, what must hold.
        play: injects the fault; an exception counts as a violation.
        bounded: whether the tests play it too; not what needs minutes, or what is not everywhere.
    """

    name: str
    promise: str
    play: Callable[[Run], Result]
    bounded: bool = True


class Played(Struct, frozen=True, kw_only=True):
    """One row of the table.

    Attributes:
        seed: what plays the row again.
        seconds: how long it took in all.
    """

    name: str
    promise: str
    seed: int
    seconds: float
    result: Result


def last_words(directory: Path) -> list[str]:
    """Ends of the logs below a row's folder, which is about to be removed."""
    return [
        f"{path.relative_to(directory)}: …{path.read_text(errors='replace')[-_LAST_WORDS:]}"
        for path in sorted(directory.rglob("*.log"))
        if path.name != _HISTORY
    ]


def play(row: Row, seed: int, *, full: bool) -> Played:
    """Play a row in a folder of its own; never raises `Exception`."""
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{row.name}-"))
    begun = time.monotonic()
    try:
        result = row.play(Run(directory, random.Random(f"{seed}:{row.name}"), full))
    except Exception:  # noqa: BLE001 - whatever went wrong belongs into the table
        result = Result(runs=0, violations=(traceback.format_exc(), *last_words(directory)))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return Played(
        name=row.name,
        promise=row.promise,
        seed=seed,
        seconds=round(time.monotonic() - begun, 1),
        result=result,
    )
