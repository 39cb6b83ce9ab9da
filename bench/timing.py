"""Times of many calls, as the wall has them and as the CPU does, and how steady the machine is.

On a machine that others use too, the wall's 99th percentile is mostly theirs. The CPU's leaves out
the waiting, though not what they do to its caches and its clock. `CALIBRATION` is the same work
every time: whatever its 99th percentile is above its median is the machine's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

HEADER = ("wall p50", "wall p99", "CPU p50", "CPU p99", "CPU p99, median of each")
CALIBRATION = "the same work every time"
_MATRIX = np.eye(16, dtype=np.float32)


class Summary(NamedTuple):
    """Microseconds, but for the last in the order of `HEADER`: percentiles over calls.

    Attributes:
        own: 99th percentile over calls of each one's median over the rounds, on the CPU: slow
            calls, as against slow moments.
    """

    wall_p50: float
    wall_p99: float
    cpu_p50: float
    cpu_p99: float
    own: float

    def cells(self, unit: float = 1.0, decimals: int = 1) -> list[str]:
        return [f"{figure / unit:.{decimals}f}" for figure in self]


def timed(
    calls: Iterable[Callable[[], object]], cpu: Callable[[], int]
) -> tuple[list[int], list[int]]:
    """Return nanoseconds of each call by the wall's clock and by another."""
    wall, used = [], []
    for call in calls:
        start, start_cpu = time.perf_counter_ns(), cpu()
        call()
        end_cpu, end = cpu(), time.perf_counter_ns()
        wall.append(end - start)
        used.append(end_cpu - start_cpu)
    return wall, used


def summary(rounds: Sequence[tuple[list[int], list[int]]]) -> Summary:
    """Sum up rounds of the same calls: medians over rounds of percentiles over calls."""
    nanoseconds = np.array(rounds, np.float64)  # (rounds, wall and CPU, calls)
    percentiles = np.median(np.percentile(nanoseconds, (50, 99), axis=2), axis=1)
    own = np.percentile(np.median(nanoseconds[:, 1], axis=0), 99)
    return Summary(*(float(each) / 1e3 for each in (*percentiles.T.ravel(), own)))


def calibrate() -> None:
    """Do what the head does, a few small calls of numpy among Python, the same every time."""
    for _ in range(20):
        (_MATRIX @ _MATRIX).sum()
