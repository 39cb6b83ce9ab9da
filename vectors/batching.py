"""Which texts are encoded together, so that a text's vector never depends on its company.

The engine's kernels may add up a row in another order when its padded width changes, and int8
rounding makes that visible (cosine .9997 in the worst case). So the width follows from the text's
own length alone, and only texts of one width share a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ROWS = 32
MAX_TOKENS = 512  # a batch's rows times width: more is no faster, and 25 kB of memory each
FINE_STEP, FINE_LIMIT, COARSE_STEP = 8, 64, 32  # a queued task is short, a chunk of code is not


def padded_width(tokens: int, limit: int) -> int:
    """Give the width at which a text of `tokens` tokens is encoded, at most `limit`."""
    step = FINE_STEP if tokens <= FINE_LIMIT else COARSE_STEP
    return min(-(-tokens // step) * step, limit)


def plan(lengths: Sequence[int], limit: int) -> Iterator[tuple[int, list[int]]]:
    """Divide texts into batches of one width.

    The number of rows is a power of two: the engine compiles kernels per shape (about 7 ms and
    2 MB each), so shapes must be few.

    Args:
        lengths: number of tokens of each text.
        limit: the model's greatest width.

    Yields:
        (width, positions of the texts in `lengths`); every position exactly once.
    """
    groups: dict[int, list[int]] = {}
    for position, tokens in enumerate(lengths):
        groups.setdefault(padded_width(tokens, limit), []).append(position)
    for width, positions in sorted(groups.items()):
        most = max(1, min(MAX_ROWS, MAX_TOKENS // width))
        start = 0
        while start < len(positions):
            rows = 1 << (min(most, len(positions) - start).bit_length() - 1)
            yield width, positions[start : start + rows]
            start += rows
