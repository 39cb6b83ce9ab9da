"""Embeddings shared through Redis, so that no process encodes what another one has."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from contracts.errors import CortexError
from vectors.embedding_cache import checked, unit_rows
from vectors.log import run_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from redis import Redis

    from vectors.types import Encoder

log = structlog.get_logger(__name__)

_AT_ONCE = 256  # texts per script: the server does nothing else while one runs


class SharedEncoder:
    """An `Encoder` that asks Redis before it asks another one, and leaves there what that answers.

    What is encoded, or found and about to be forgotten, goes into the younger of two hashes; when
    that is full it becomes the older one, which goes. So at most `most` vectors are kept, of about
    2 dim + 100 bytes each, and what was not asked for lately is forgotten. Vectors are rounded to
    float16 as in a `CachedEncoder`, which belongs before this. Trouble costs hits, never an error.

    Attributes:
        prompt: that the other one puts in front of every text.
        hits: texts that another process had encoded.
    """

    def __init__(self, encoder: Encoder, client: Redis, keys: tuple[str, str], most: int) -> None:
        """Share what `encoder` answers.

        Args:
            encoder: answers what nobody has yet.
            client: a client that does not decode responses.
            keys: of the younger and the older hash; in a cluster, of the same slot.
            most: vectors kept.
        """
        self.prompt: str = getattr(encoder, "prompt", "")
        self.hits = 0
        self._encoder = encoder
        self._client = client
        self._keys = keys
        self._most_in_one = max(1, most // 2)
        self._in_trouble = False

    @property
    def identity(self) -> str:
        """Identity of the encoder behind."""
        return self._encoder.identity

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self._encoder.dim

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns:
            Array of shape (len(texts), dim), float32 with float16 precision.

        Raises:
            TransientError: the encoder returned something else than vectors of length 1.
            CortexError: what the encoder behind raises.
        """
        fields = {text: self._field(text) for text in texts}
        young, old = self._recall(list(fields.values()))
        known = old | young
        missing = [text for text, field in fields.items() if field not in known]
        fresh: dict[bytes, bytes] = {}
        if missing:
            rows = checked(self._encoder, missing)
            fresh = {fields[text]: row.tobytes() for text, row in zip(missing, rows, strict=True)}
        self.hits += len(fields) - len(missing)
        self._remember(fresh | {field: old[field] for field in old.keys() - young.keys()})
        known |= fresh
        found = np.frombuffer(b"".join(known[fields[text]] for text in texts), "<f2")
        return found.reshape(len(texts), self.dim).astype(np.float32)

    def _field(self, text: str) -> bytes:
        named = f"{self.identity}\0{self.prompt}{text}"
        return hashlib.sha256(named.encode(errors="surrogatepass")).digest()

    def _recall(self, fields: list[bytes]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        """What the younger and the older hash hold; whatever is no vector is not there."""
        young: dict[bytes, bytes] = {}
        old: dict[bytes, bytes] = {}
        for start in range(0, len(fields), _AT_ONCE):
            part = fields[start : start + _AT_ONCE]
            for found, values in zip((young, old), self._run("recall", part) or (), strict=False):
                found.update(self._sound(zip(part, values, strict=True)))
        return young, old

    def _sound(self, pairs: Iterable[tuple[bytes, bytes | None]]) -> dict[bytes, bytes]:
        there = [(field, value) for field, value in pairs if value and len(value) == 2 * self.dim]
        rows = np.frombuffer(b"".join(value for _, value in there), "<f2")
        sound = unit_rows(rows.reshape(len(there), self.dim).astype(np.float32))
        return dict(pair for pair, fine in zip(there, sound, strict=True) if fine)

    def _remember(self, vectors: dict[bytes, bytes]) -> None:
        pairs = list(vectors.items())
        for start in range(0, len(pairs), _AT_ONCE):
            part = [each for pair in pairs[start : start + _AT_ONCE] for each in pair]
            self._run("remember", [self._most_in_one, *part])

    def _run(self, script: str, arguments: Sequence[bytes | int]) -> Any:  # noqa: ANN401 - what the script says
        try:
            reply = run_script(self._client, script, self._keys, arguments)
        except CortexError as error:
            if not self._in_trouble:
                log.warning("shared_embeddings_in_trouble", error=str(error))
            self._in_trouble = True
            return None
        self._in_trouble = False
        return reply
