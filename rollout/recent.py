"""A dictionary that forgets what is old, so that whatever runs for long stays small."""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Keeps at least the `limit` keys put last, and never more than twice as many.

    Two generations: when the young one is full it becomes the old one, whose keys are forgotten
    together. Each operation takes constant time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: str) -> V | None:
        """Return what was put under a key; None if it is forgotten, or never was there."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: str, value: V) -> None:
        """Put a value, in place of an older one."""
        if len(self._young) >= self._limit and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def pop(self, key: str) -> V | None:
        """Take a value out; None if there is none."""
        value = self._young.pop(key, None)
        old = self._old.pop(key, None)
        return old if value is None else value
