"""A model that runs an encoder of its own is kept from holding up the worker."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from contracts.errors import TransientError
from router.model import Prediction
from router.rules import RuleScore
from worker.opening import GuardedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COUNT = 70
TEXTS = [f"text {number}" for number in range(COUNT)]
EMBEDDINGS = np.arange(COUNT, dtype=np.float32)[:, None]
RULES = [RuleScore("a", 1.0, {"a": number / COUNT}) for number in range(COUNT)]


class Echo:
    """A model whose answers tell what it was given; it can be made to fail or to hang."""

    def __init__(self, version: str = "m1") -> None:
        self.version = version
        self.fails = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        self.may_answer.wait()
        if self.fails:
            raise ValueError
        return [
            Prediction({text: float(row[0]), "rules": score.scores["a"]})
            for text, row, score in zip(descriptions, embeddings, rules, strict=True)
        ]


def test_a_batch_of_any_size_is_answered_in_order() -> None:
    model = Echo()
    guarded = GuardedModel(model, list)
    assert guarded.version == "m1"
    assert guarded.predict(TEXTS, EMBEDDINGS, RULES) == model.predict(TEXTS, EMBEDDINGS, RULES)


def test_a_failure_is_one_of_that_batch() -> None:
    model = Echo()
    guarded = GuardedModel(model, list)
    model.fails = True
    with pytest.raises(TransientError, match="m1"):
        guarded.predict(TEXTS, EMBEDDINGS, RULES)
    model.fails = False
    assert len(guarded.predict(TEXTS, EMBEDDINGS, RULES)) == COUNT


def test_a_model_that_hangs_fails_in_time_and_then_at_once() -> None:
    model = Echo()
    guarded = GuardedModel(model, list)
    model.may_answer.clear()
    for _ in range(2):
        with pytest.raises(TransientError, match="m1"):
            guarded.predict(TEXTS, EMBEDDINGS, RULES)
    model.may_answer.set()


def test_the_guard_ends_with_the_model() -> None:
    guarded = GuardedModel(Echo("m2"), list)
    (thread,) = [each for each in threading.enumerate() if each.name == "guard-model m2"]
    del guarded
    thread.join(10)
    assert not thread.is_alive()
