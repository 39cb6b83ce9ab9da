from __future__ import annotations

import numpy as np
import pytest

from learning.denoise import Trust, Votes, support

SETTINGS = Trust()


def clusters(rng: np.random.Generator, size: int, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Three groups of texts, each around a direction of its own, labelled 0 to 2."""
    labels = np.repeat(np.arange(3), size)
    points = 3.0 * np.eye(3, dim)[labels] + rng.normal(size=(3 * size, dim)) / np.sqrt(dim)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), labels


def votes(
    embeddings: np.ndarray,
    labels: np.ndarray,
    evidence: np.ndarray | None = None,
    ages: np.ndarray | None = None,
) -> Votes:
    n = len(labels)
    evidence = np.ones(n) if evidence is None else evidence
    ages = np.zeros(n) if ages is None else ages
    return Votes(embeddings, labels, evidence, ages, np.arange(n), 3)


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_wrong_labels_are_outvoted_and_right_ones_stay(share: float) -> None:
    rng = np.random.default_rng(0)
    embeddings, right = clusters(rng, 200)
    labels = right.copy()
    wrong = rng.random(len(right)) < share
    labels[wrong] = (right[wrong] + rng.integers(1, 3, wrong.sum())) % 3
    shares = support(votes(embeddings, labels), embeddings, SETTINGS)
    assert (shares.argmax(axis=1) == right).all()
    own = shares[np.arange(600), labels]
    assert own[wrong].max() < own[~wrong].min()


def test_what_is_old_stands_until_something_younger_contradicts_it() -> None:
    rng = np.random.default_rng(1)
    embeddings, labels = clusters(rng, 100)
    ages = np.full(300, 30.0)
    before = support(votes(embeddings, labels, ages=ages), embeddings, SETTINGS)
    assert (before.argmax(axis=1) == labels).all()
    labels[:40], ages[:40] = 1, 0.0  # of the first group, these are of today, and another's by now
    after = support(votes(embeddings, labels, ages=ages), embeddings, SETTINGS).argmax(axis=1)
    assert (after[:100] == 1).all()
    assert (after[100:] == labels[100:]).all()


def test_failures_speak_against_their_label_and_for_none() -> None:
    rng = np.random.default_rng(2)
    embeddings, labels = clusters(rng, 50)
    evidence = np.where((labels == 0) & (np.arange(150) % 2 == 0), -1.0, 1.0)
    shares = support(votes(embeddings, labels, evidence), embeddings, SETTINGS)
    assert shares[:50, 0].mean() == pytest.approx(0.5, abs=0.1)
    assert shares[:50, 1:].max() < 0.25
    assert shares[50:].max(axis=1).min() > 0.9


def test_a_text_can_be_judged_by_others_alone() -> None:
    rng = np.random.default_rng(3)
    embeddings, labels = clusters(rng, 50)
    labels[0] = 2  # of the first group
    known = votes(embeddings, labels)
    own = support(known, embeddings[:1], SETTINGS)[0, 2]
    others = support(known, embeddings[:1], SETTINGS, without=np.array([0]))[0, 2]
    assert others < own
    unlabelled = np.delete(np.arange(150), 0)
    rest = Votes(*(each[unlabelled] for each in known[:-1]), known.classes)  # type: ignore[index]
    again = support(rest, embeddings[:1], SETTINGS)[0, 2]
    assert others == pytest.approx(again, abs=0.05)


def test_where_nothing_is_known_no_label_has_support() -> None:
    rng = np.random.default_rng(4)
    embeddings, labels = clusters(rng, 5)
    shares = support(votes(embeddings, labels, -np.ones(15)), embeddings, SETTINGS)
    assert (shares == 0).all()
