"""What every parser says of malformed input."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from contracts.errors import PoisonError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def poison(reason: str) -> Iterator[None]:
    """Expect `PoisonError` with this reason code, and a detail that is safe to log."""
    with pytest.raises(PoisonError) as caught:
        yield
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 500
    assert caught.value.detail.isprintable()
