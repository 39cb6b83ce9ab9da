from __future__ import annotations

import numpy as np
import pytest

from learning.denoise import Trust, Votes, support, trust

SETTINGS = Trust()


def clusters(rng: np.random.Generator, size: int, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Three groups of texts, each around a direction of its own, labelled 0 to 2."""
    labels = np.repeat(np.arange(3), size)
    points = 3.0 * np.eye(3, dim)[labels] + rng.normal(size=(3 * size, dim)) / np.sqrt(dim)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), labels


def test_of_one_wrong_label_in_ten_nearly_all_lose_their_weight_and_right_ones_keep_it() -> None:
    rng = np.random.default_rng(0)
    embeddings, right = clusters(rng, 200)
    labels = right.copy()
    wrong = rng.random(len(right)) < 0.1
    labels[wrong] = (right[wrong] + rng.integers(1, 3, wrong.sum())) % 3
    weights = trust(
        Votes(embeddings, labels, np.ones(600), np.zeros(600), np.arange(600), 3), SETTINGS
    )
    assert weights[wrong].mean() < 0.2
    assert weights[~wrong].min() > 0.5
    assert weights[~wrong].mean() > 0.99


def test_what_is_old_is_kept_until_something_younger_contradicts_it() -> None:
    rng = np.random.default_rng(1)
    embeddings, labels = clusters(rng, 100)
    ages = np.full(300, 30.0)
    assert (
        trust(Votes(embeddings, labels, np.ones(300), ages, np.arange(300), 3), SETTINGS).min()
        == 1.0
    )
    changed = np.zeros(300, bool)
    changed[:40] = True  # of the first group, these are of the last day, and another's by now
    labels[changed], ages[changed] = 1, 0.0
    weights = trust(Votes(embeddings, labels, np.ones(300), ages, np.arange(300), 3), SETTINGS)
    assert weights[changed].min() == 1.0
    assert weights[40:100].mean() < 0.2
    assert weights[40:100].max() < 0.5
    assert weights[100:].min() == 1.0


def test_failures_speak_against_their_label_and_for_none() -> None:
    rng = np.random.default_rng(2)
    embeddings, labels = clusters(rng, 50)
    evidence = np.where(labels == 0, np.where(np.arange(150) % 2, -1.0, 1.0), 1.0)
    shares = support(
        Votes(embeddings, labels, evidence, np.zeros(150), np.arange(150), 3),
        embeddings[:50],
        SETTINGS,
    )
    assert shares[:, 0].mean() == pytest.approx(0.5, abs=0.1)
    assert shares[:, 1:].max() < 0.05


def test_an_example_unlike_all_others_keeps_its_weight() -> None:
    rng = np.random.default_rng(3)
    embeddings, labels = clusters(rng, 50)
    alone = np.eye(64, dtype=np.float32)[63:]
    everybody = np.vstack([embeddings, alone])
    weights = trust(
        Votes(everybody, np.append(labels, 2), np.ones(151), np.zeros(151), np.arange(151), 3),
        SETTINGS,
    )
    assert weights[-1] > 0.9
