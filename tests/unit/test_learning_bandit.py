from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from contracts.errors import FatalError
from contracts.messages import RolloutConfig
from learning.bandit import Statistics, believe, nothing_known, principal_axes, update
from router.bandit import Bandit, Projection, ThompsonModel, rule_table, task_features
from router.explore import MAX_EXPLORATION, draw, places
from router.masters import Masters
from router.model import Prediction
from router.policy import Policy
from router.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from router.rules import RuleScore

    Floats = NDArray[np.float64]

MASTERS = ("a", "b", "c")
FEATURES = 4  # and a constant
FIRST, LAST = slice(300), slice(-300, None)
AS_IT_IS = Projection(np.zeros(FEATURES), np.eye(FEATURES))


def features(tasks: Floats) -> Floats:
    """What a bandit sees of tasks of which no rule says anything."""
    return task_features(AS_IT_IS, tasks.astype(np.float32), np.zeros((len(tasks), 0)))


def kinds_of_tasks(rng: Generator, n: int) -> tuple[Floats, Floats]:
    """Return tasks of four kinds, told apart by the features, and masters' chances at each kind."""
    return np.eye(FEATURES)[rng.integers(0, FEATURES, n)], rng.uniform(0.1, 0.9, (FEATURES, 3))


def regrets(
    tasks: Floats, chances: Floats, rng: Generator, *, greedy: bool = False, forget: float = 1.0
) -> Floats:
    """Play task after task, believing anew every 25.

    Args:
        tasks: shape (n, features).
        chances: shape (n, masters): of success.
        rng: what happens.
        greedy: whether always the master is taken that is expected to be the best.
        forget: see `update`.

    Returns:
        Shape (n,): by how much the master taken was less likely to succeed than the best.
    """
    known, regret = nothing_known(len(MASTERS), 1 + FEATURES), np.zeros(len(tasks))
    for start in range(0, len(tasks), 25):
        rows = np.arange(start, start + 25)
        bandit = believe(known, AS_IT_IS)
        seen = features(tasks[rows])
        if greedy:
            chosen = (seen @ bandit.means.T).argmax(1)
        else:
            named = [dict(zip("012", row, strict=True)) for row in bandit.chances(seen).tolist()]
            falls = places("sim", [f"t-{row}" for row in rows])
            drawn = [draw(*each)[0] for each in zip(named, falls, strict=True)]
            chosen = np.array(drawn, int)
        regret[rows] = chances[rows].max(1) - chances[rows, chosen]
        rewards = (rng.random(len(rows)) < chances[rows, chosen]).astype(float)
        known = update(known, seen, chosen, rewards, forget=forget)
    return regret


def test_sampling_regrets_less_than_greed() -> None:
    # Where kinds of tasks are few, greed stays with the first master that does well enough.
    sampling, greed = [], []
    for seed in range(10):
        tasks, skills = kinds_of_tasks(np.random.default_rng(seed), 3000)
        chances = tasks @ skills
        sampling.append(regrets(tasks, chances, np.random.default_rng(seed)))
        greed.append(regrets(tasks, chances, np.random.default_rng(seed), greedy=True))
    assert np.sum(sampling) < 0.7 * np.sum(greed)
    # And it settles: what is lost per task falls to a fraction.
    early, late = (np.mean([each[part] for each in sampling]) for part in (FIRST, LAST))
    assert late < 0.3 * early


def test_it_recovers_from_drift_if_it_forgets() -> None:
    late = {}
    for forget in (1.0, 0.995):
        after = []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            tasks, skills = kinds_of_tasks(rng, 3000)
            # Half way every master turns into the next.
            turned = [tasks[:1500] @ skills, tasks[1500:] @ np.roll(skills, 1, axis=1)]
            regret = regrets(tasks, np.concatenate(turned), rng, forget=forget)
            after.append(regret[LAST].mean())
        late[forget] = np.mean(after)
    assert late[0.995] < 0.6 * late[1.0]
    assert late[0.995] < 0.08


def taught(seed: int, n: int = 300) -> tuple[Bandit, Floats, Statistics]:
    rng = np.random.default_rng(seed)
    seen = features(rng.normal(size=(n, FEATURES)))
    rewards = rng.integers(0, 2, n).astype(float)
    known = update(nothing_known(3, 1 + FEATURES), seen, rng.integers(0, 3, n), rewards)
    return believe(known, AS_IT_IS), seen, known


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 300))
@settings(max_examples=40)
def test_chances_sum_to_one_and_repeat(seed: int, n: int) -> None:
    bandit, _, _ = taught(seed, n)
    seen = np.random.default_rng(seed).normal(0, 3, (20, 1 + FEATURES))
    chances = bandit.chances(seen)
    assert (chances >= 0).all()
    np.testing.assert_allclose(chances.sum(1), 1.0)
    np.testing.assert_array_equal(chances, bandit.chances(seen))


def test_chances_are_those_of_drawing_from_the_posterior() -> None:
    bandit, seen, _ = taught(1, 60)
    rng = np.random.default_rng(2)
    weights = np.stack(
        [
            rng.multivariate_normal(mean, covariance, 40_000)
            for mean, covariance in zip(bandit.means, bandit.covariances, strict=True)
        ]
    )
    best = np.einsum("kmd,nd->nmk", weights, seen[:20]).argmax(2)
    drawn = np.stack([(best == master).mean(1) for master in range(3)], axis=1)
    np.testing.assert_allclose(bandit.chances(seen[:20]), drawn, atol=0.015)


@given(seed=st.integers(0, 1000), forget=st.floats(0.9, 1.0), cut=st.integers(0, 30))
@settings(max_examples=40)
def test_a_batch_teaches_what_its_tasks_teach_one_by_one(
    seed: int, forget: float, cut: int
) -> None:
    rng = np.random.default_rng(seed)
    seen, rewards = rng.normal(size=(30, 5)), rng.random(30)
    chosen = rng.integers(0, 3, 30)
    at_once = update(nothing_known(3, 5), seen, chosen, rewards, forget=forget)
    known = nothing_known(3, 5)
    for rows in (slice(0, cut), slice(cut, 30)):
        known = update(known, seen[rows], chosen[rows], rewards[rows], forget=forget)
    np.testing.assert_allclose(known.precisions, at_once.precisions, atol=1e-9)
    np.testing.assert_allclose(known.moments, at_once.moments, atol=1e-9)


def test_what_is_forgotten_is_unknown_again() -> None:
    _, seen, known = taught(3)
    nobody = np.zeros((2000, 1 + FEATURES))
    faded = update(known, nobody, np.zeros(2000, int), np.zeros(2000), forget=0.99)
    fresh = nothing_known(3, 1 + FEATURES)
    np.testing.assert_allclose(faded.precisions, fresh.precisions, atol=1e-5)
    np.testing.assert_allclose(believe(faded, AS_IT_IS).chances(seen[:5]), 1 / 3, atol=1e-3)


def believed(seed: int) -> Bandit:
    """What a bandit of three masters, which takes the rules' scores, believes of `FEATURES`."""
    rng = np.random.default_rng(seed)
    width = 1 + FEATURES + len(MASTERS)
    known = update(
        nothing_known(3, width), rng.normal(size=(9, width)), rng.integers(0, 3, 9), rng.random(9)
    )
    return believe(known, AS_IT_IS)


def test_what_is_believed_can_be_stored() -> None:
    bandit = believed(4)
    again = Bandit.read(bandit.write(), len(MASTERS), FEATURES)
    seen = np.random.default_rng(0).normal(size=(5, bandit.means.shape[1]))
    np.testing.assert_array_equal(again.chances(seen), bandit.chances(seen))
    assert again.write() == bandit.write() != believed(5).write()


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("means", None, "not \\['axes', 'centre', 'covariances', 'means'\\]"),
        ("more", np.zeros(2), "it has tensors .*'more'"),
        ("means", np.zeros((2, 8)), r"means is float64 \(2, 8\), not float64 \(3, 8\)"),
        ("axes", np.zeros(()), "axes is"),
        ("axes", np.zeros((FEATURES, 1)), "means is"),
        ("centre", np.zeros(FEATURES, np.float32), "centre is float32"),
        ("covariances", np.full((3, 8, 8), np.nan), "not finite"),
    ],
)
def test_what_is_no_bandit_is_refused(name: str, tensor: Floats | None, reason: str) -> None:
    tensors = load(believed(0).write())
    assert tensors.pop(name, tensor) is not None
    changed = tensors if tensor is None else tensors | {name: tensor}
    with pytest.raises(FatalError, match=reason):
        Bandit.read(save(changed), len(MASTERS), FEATURES)
    with pytest.raises(FatalError, match="bandit: "):
        Bandit.read(save(changed)[:-1], len(MASTERS), FEATURES)


def test_principal_axes_are_of_unit_variance_and_uncorrelated() -> None:
    rng = np.random.default_rng(6)
    embeddings = (rng.normal(size=(400, 3)) @ rng.normal(size=(3, 32)) + 5).astype(np.float32)
    projection = principal_axes(embeddings, 8)
    assert projection.axes.shape == (32, 3)  # there are no more directions than three
    reduced = task_features(projection, embeddings, np.zeros((400, 0)))[:, 1:]
    np.testing.assert_allclose(np.cov(reduced.T, bias=True), np.eye(3), atol=1e-3)


def test_outcomes_that_do_not_fit_are_refused() -> None:
    known = nothing_known(3, 5)
    with pytest.raises(ValueError, match="same tasks"):
        update(known, np.zeros((2, 5)), np.zeros(3, int), np.zeros(2))
    with pytest.raises(ValueError, match="factor"):
        update(known, np.zeros((2, 5)), np.zeros(2, int), np.zeros(2), forget=0.0)


class Even:
    """A model that knows nothing, and abstains on what it is told to."""

    version = "m1"

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        assert len(embeddings) == len(rules)
        third = dict.fromkeys(MASTERS, 1 / 3)
        return [Prediction(third, abstained=text == "odd") for text in descriptions]


def test_a_bandit_says_where_to_explore_and_the_model_all_else() -> None:
    masters = Masters.parse(
        'fallback = "c"\n'
        + "".join(f'[[master]]\nname = "{name}"\ndescription = "x"\n' for name in MASTERS)
    )
    rules = Rules.parse(
        'temperature = 1.0\n[[rule]]\nmaster = "a"\nweight = 2\nwords = ["test"]\n', masters
    )
    rng = np.random.default_rng(7)
    embeddings = rng.normal(size=(3000, FEATURES)).astype(np.float32)
    texts = ["odd" if n % 10 == 0 else "new" for n in range(3000)]
    seen = task_features(AS_IT_IS, embeddings, rule_table([*map(rules.score, texts)], MASTERS))
    chosen, rewards = rng.integers(0, 3, 3000), np.zeros(3000)
    rewards[chosen == 1] = rng.random((chosen == 1).sum()) < 0.6  # and nobody else ever succeeds
    known = update(nothing_known(3, seen.shape[1]), seen, chosen, rewards)
    model = ThompsonModel(Even(), believe(known, AS_IT_IS), MASTERS)
    config = msgspec.convert({"percentage": 1.0, "exploration": 0.1}, RolloutConfig)
    policy = Policy(masters, rules, model, config)
    routings = policy.route([f"t-{n}" for n in range(3000)], texts, embeddings)
    for text, routing in zip(texts, routings, strict=True):
        assert routing.model_version == "m1"
        assert (routing.fallback_reason == "abstained") == (text == "odd")
    neural = [routing for routing in routings if routing.method == "neural"]
    assert all(routing.confidence == pytest.approx(1 / 3) for routing in neural)
    explored = [routing for routing in neural if routing.selected_master != "a"]
    # To a model that knows nothing the first is as good as any; the bandit knows who is better.
    assert len(explored) / len(neural) == pytest.approx(MAX_EXPLORATION, abs=0.02)
    assert {routing.selected_master for routing in explored} == {"b"}
    for routing in explored:
        assert routing.propensity == pytest.approx(MAX_EXPLORATION, rel=0.05)
