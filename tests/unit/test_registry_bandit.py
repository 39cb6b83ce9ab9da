from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from registry.folder import BANDIT, BadModelError, seal, version_of
from registry.opening import check_model, open_model, with_bandit
from router.bandit import Bandit, ThompsonModel
from router.rules import RuleScore
from tests import models

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-11-22T03:00:00Z"
MASTERS = len(models.LABELS)


def put_beside(folder: Path, content: bytes) -> None:
    (folder / BANDIT).write_bytes(content)
    seal(folder, data_fingerprint="data", created_at=NOW)


def bandit(axes: int = 2) -> bytes:
    width = 1 + axes + MASTERS
    eye = np.broadcast_to(np.eye(width), (MASTERS, width, width))
    means = np.zeros((MASTERS, width))
    means[1, 0] = 9.0  # sure that the second is better, whatever the task
    return Bandit(np.zeros(models.DIM), np.eye(models.DIM, axes), means, 0.01 * eye).write()


def test_a_bandit_beside_a_model_says_how_to_explore(tmp_path: Path) -> None:
    models.write(tmp_path)
    before = version_of(tmp_path, NOW)
    asked = ["a text"], np.eye(1, models.DIM, dtype=np.float32), [RuleScore("x", 0.0, {})]
    alone = open_model(tmp_path)
    assert with_bandit(tmp_path, alone) is alone
    (without,) = alone.predict(*asked)
    assert without.chances is None
    put_beside(tmp_path, bandit())
    model = with_bandit(tmp_path, open_model(tmp_path))
    assert isinstance(model, ThompsonModel)
    assert model.version == check_model(tmp_path).version != before
    (found,) = model.predict(*asked)
    assert found.scores == without.scores
    assert found.chances is not None
    assert found.chances[models.LABELS[1]] == pytest.approx(1.0)


@pytest.mark.parametrize("content", [b"", bandit()[:-1], bandit() + b" ", b"x" * 100])
def test_a_bandit_that_is_none_is_refused_with_its_model(tmp_path: Path, content: bytes) -> None:
    models.write(tmp_path)
    put_beside(tmp_path, content)
    for refuse in (open_model, check_model):
        with pytest.raises(BadModelError, match="bandit: "):
            refuse(tmp_path)


def test_a_bandit_of_others_is_refused(tmp_path: Path) -> None:
    head = models.tensors() | {
        "dense": np.ones((4, MASTERS), np.float32),
        "prototypes": np.eye(2, 4, dtype=np.float32),
    }
    models.write(tmp_path, settings=models.config(dim=4), head=head)
    open_model(tmp_path)
    put_beside(tmp_path, bandit())
    with pytest.raises(BadModelError, match="bandit: centre is"):
        open_model(tmp_path)
