"""A worker or indexer whose encoder and index fail on command: `python -m chaos.faulty worker`.

The command is the text of the file `CHAOS_SWITCH` names, looked at before every call: one of
`FAULTS`, or nothing for none. The encoder is a small deterministic one, so that nothing but the
fault costs time.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import numpy as np

from vectors.collection import Collection
from vectors.lexical import terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vectors.memory import Memory
    from vectors.types import Encoder, Hit

FAULTS = {
    "encoder-raises": "limited",
    "encoder-hangs": "limited",
    "encoder-nan": "limited",
    "encoder-inf": "limited",
    "encoder-shape": "limited",
    "index-raises": "unavailable",
    "index-hangs": "unavailable",
    "index-nan": "limited",
}
"""What can be switched on, and what decisions then say of their context."""

SLOW = "encoder-slow"
SLOWNESS = 0.2  # seconds a text
_LOOK = 0.02  # seconds between looks of a call that hangs


class WordEncoder:
    """An `Encoder` that adds up one fixed direction per word."""

    identity = "words-64"
    dim = 64

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts; those that share words lie near each other."""
        rows = [sum(map(_direction, terms(text)), start=_direction("")) for text in texts]
        return np.stack([(row / np.linalg.norm(row)).astype(np.float32) for row in rows])


@cache
def _direction(word: str) -> NDArray[np.float64]:
    seed = hashlib.sha256(word.encode(errors="replace")).digest()[:8]
    drawn = np.random.default_rng(int.from_bytes(seed, "little")).standard_normal(WordEncoder.dim)
    return drawn / np.linalg.norm(drawn)


class Switch:
    """Where a fault is switched on and off, from another process."""

    def __init__(self, file: Path) -> None:
        """Use a file; without it nothing fails."""
        self._file = file

    def set(self, fault: str) -> None:
        """Switch a fault on; "" is none."""
        staged = self._file.with_suffix(".new")
        staged.write_text(fault)
        staged.replace(self._file)

    def get(self) -> str:
        """The fault that is on."""
        try:
            return self._file.read_text()
        except FileNotFoundError:
            return ""

    def hang(self) -> None:
        """Return only when the present fault is over."""
        fault = self.get()
        while self.get() == fault:
            time.sleep(_LOOK)


class _FaultyEncoder(WordEncoder):
    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        fault = self._switch.get()
        if fault == "encoder-raises":
            raise ArithmeticError("a fault of the encoder")
        if fault == "encoder-hangs":
            self._switch.hang()
        if fault == SLOW:
            time.sleep(SLOWNESS * len(texts))
        vectors = super().encode(texts)
        if fault in {"encoder-nan", "encoder-inf"}:
            vectors[:, 0] = math.nan if fault == "encoder-nan" else math.inf
        return vectors[:, 1:] if fault == "encoder-shape" else vectors


class _FaultyCollection(Collection):
    switch: Switch

    def search_batch(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32] | None,
        k: int = 5,
        memories: Sequence[Memory] | None = None,
    ) -> list[list[Hit]]:
        fault = self.switch.get()
        if fault == "index-raises":
            raise ArithmeticError("a fault of the index")
        if fault == "index-hangs":
            self.switch.hang()
        found = super().search_batch(texts, vectors, k, memories)
        if fault == "index-nan" and vectors is not None:
            return [list(map(_unsound, hits)) for hits in found]
        return found


def _unsound(hit: Hit) -> Hit:
    return msgspec.structs.replace(hit, score=math.nan)


def main() -> None:
    """Run the program that the command line names until it ends."""
    switch = Switch(Path(os.environ["CHAOS_SWITCH"]))

    def open_encoder(*_args: Any, **_options: Any) -> Encoder:  # noqa: ANN401 - ignored
        return _FaultyEncoder(switch)

    _FaultyCollection.switch = switch
    mock.patch("vectors.encoder.open_encoder", open_encoder).start()
    mock.patch("vectors.collection.Collection", _FaultyCollection).start()
    sys.exit(import_module(f"{sys.argv[1]}.app").main())


if __name__ == "__main__":
    main()
