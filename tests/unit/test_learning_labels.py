from __future__ import annotations

import pytest

from learning.examples import Example
from learning.labels import FAILED_WEIGHT, evidence, reward, teach
from learning.records import Reported
from tests.learning_records import decided, outcome

DEV, SEC, QA = "development-master", "security-master", "quality-master"


def told(text: str, kind: str = "success", **changes: object) -> Reported:
    repo = changes.pop("repo", None)
    return Reported(decided("t", text=text, repo=repo), outcome("t", kind, **changes))


@pytest.mark.parametrize(
    ("kind", "changes", "label", "weight"),
    [
        ("success", {}, DEV, 1.0),
        ("success", {"score": 0.4}, DEV, 0.4),
        ("success", {"master": SEC}, SEC, 1.0),
        ("failed", {}, DEV, FAILED_WEIGHT),
        ("failed", {"score": 0.9}, DEV, FAILED_WEIGHT),
        ("rerouted", {"correct_master": SEC}, SEC, 1.0),
        ("rerouted", {}, DEV, -1.0),
    ],
)
def test_whom_an_outcome_speaks_for(
    kind: str, changes: dict[str, object], label: str, weight: float
) -> None:
    assert evidence(outcome("t", kind, **changes)) == (label, weight)


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("success", {}, 1.0),
        ("success", {"score": 0.4}, 0.4),
        ("success", {"master": SEC}, 0.0),
        ("failed", {"score": 0.9}, 0.0),
        ("rerouted", {}, 0.0),
        ("rerouted", {"correct_master": DEV}, 0.0),
    ],
)
def test_reward_is_that_of_the_choice(
    kind: str, changes: dict[str, object], expected: float
) -> None:
    assert reward(told("x", kind, **changes)) == expected


def test_one_example_a_text_with_its_repository() -> None:
    taught = teach([told("a", repo="web"), told("b", master=SEC), told("a")])
    assert taught.examples == [Example("b", SEC), Example("a", DEV, source="web")]
    assert (taught.unlabelled, taught.contested) == (0, 0)


def test_the_heavier_label_wins_and_pays_for_the_dispute() -> None:
    taught = teach([told("a", master=SEC), told("a"), told("a", master=SEC), told("a", score=0.5)])
    assert taught.examples == [Example("a", SEC, weight=2 / 3.5)]
    assert taught.contested == 1


def test_of_equals_the_one_spoken_for_last_wins() -> None:
    rows = [told("a"), told("a", master=SEC)]
    assert teach(rows).examples == [Example("a", SEC, weight=0.5)]
    assert teach(rows[::-1]).examples == [Example("a", DEV, weight=0.5)]


def test_passing_on_takes_away_what_a_success_gave() -> None:
    taught = teach([told("a"), told("a", "rerouted"), told("b", "rerouted"), told("b")])
    assert (taught.examples, taught.unlabelled) == ([], 2)
    taught = teach([told("a"), told("a"), told("a", "rerouted"), told("a", "failed", master=SEC)])
    assert taught.examples == [Example("a", DEV, weight=1 / (1 + FAILED_WEIGHT))]


def test_what_failed_hardly_counts_and_adds_up() -> None:
    assert teach([told("a", "failed")]).examples == [Example("a", DEV, weight=FAILED_WEIGHT)]
    many = teach([told("a", "failed")] * 30).examples
    assert many == [Example("a", DEV)]


def test_masters_that_are_gone_are_counted_and_left_out() -> None:
    rows = [told("a"), told("a", master="gone"), told("b", "rerouted", correct_master="gone")]
    taught = teach(rows, [DEV, SEC])
    assert taught.examples == [Example("a", DEV)]
    assert taught.unknown == {"gone": 2}


def test_nothing_teaches_nothing() -> None:
    assert teach(iter([])) == ([], {}, 0, 0)
    assert teach([told("a", score=0.0)]).examples == []
