"""The vectors of a base in memory, where they are few enough to compare whole batches with all."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vectors.rough import Rough

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 1 << 16  # vectors: 100 MB as float32 and 40 in 8 bits
_FEWEST_ROUGH = 1 << 11  # of fewer the exact product is as quick


class Held:
    """Vectors, decoded when a search first wants them: for 20,000 that takes 60 ms."""

    def __init__(self, index: Any, size: int) -> None:  # noqa: ANN401 - faiss is untyped
        """Decode nothing yet; `index` holds `size` vectors."""
        self._index = index
        self._size = size

    def matrix(self) -> NDArray[np.float32] | None:
        """Every vector: shape (size, dim); None where they are too many."""
        return self._matrix if self._size <= _MOST else None

    def rough(self) -> Rough | None:
        """The same in 8 bits; None where they are too many, or few."""
        return self._rough if _FEWEST_ROUGH <= self._size <= _MOST else None

    def be_like(self, other: Held) -> None:
        """Decode beforehand what searches of another base have wanted."""
        if "_matrix" in vars(other):
            self.matrix()
            self.rough()

    @cached_property
    def _matrix(self) -> NDArray[np.float32]:
        if not self._size:
            return np.empty((0, self._index.d), np.float32)
        decoded: NDArray[np.float32] = self._index.reconstruct_n(0, self._size)
        return decoded

    @cached_property
    def _rough(self) -> Rough:
        return Rough(self._matrix)
