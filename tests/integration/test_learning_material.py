"""What outcomes teach, with the real encoder: what is a neighbour is its business."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from learning.examples import Example
from learning.material import Lesson, Weighing, lessons_of, weigh, written_lessons
from learning.records import Reported
from router.masters import Masters
from tests.learning_records import T0, decided, outcome
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from vectors.types import Encoder

MASTERS = Masters.parse(files("router").joinpath("masters.toml").read_text("utf-8"))
DEV, SEC, CICD = "development-master", "security-master", "cicd-master"
DAY = 24 * 3600 * 1000
CRASHES = [
    "The app crashes when the list is empty",
    "App crashes when an order has no lines",
    "The app crashes if the file is too large",
    "Crash in the app when two tabs are open",
    "The app crashes when the date is missing",
    "Our app crashes when the cart is empty",
]
BUILDS = [
    "The nightly build fails on the macOS runner",
    "Nightly build fails: no space left on the runner",
    "The build of the docker image fails on CI",
    "CI build fails because the cache key changed",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return open_encoder()


def heard(texts: list[str], label: str, evidence: float = 1.0, first: int = 0) -> list[Lesson]:
    return [Lesson(text, label, evidence, first + n, T0) for n, text in enumerate(texts)]


def labels(lessons: list[Lesson], encoder: Encoder, now_ms: int = T0) -> dict[str, str]:
    material = weigh(lessons, encoder, now_ms, Weighing())
    return {each.text: each.label for each in (*material.heard, *material.background)}


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("success", {}, [(DEV, 1.0)]),
        ("success", {"score": 0.4}, [(DEV, 0.4)]),
        ("success", {"score": 0.0}, []),
        ("failed", {}, [(DEV, -1.0)]),
        ("rerouted", {}, [(DEV, -1.0)]),
        ("rerouted", {"correct_master": SEC}, [(DEV, -1.0), (SEC, 1.0)]),
        ("rerouted", {"correct_master": "gone-master"}, [(DEV, -1.0)]),
        ("success", {"master": "gone-master"}, []),
    ],
)
def test_an_outcome_speaks_for_and_against(
    kind: str, changes: dict[str, object], expected: list[tuple[str, float]]
) -> None:
    reported = [Reported(decided("t-1"), outcome("t-1", kind, **changes))]
    found = lessons_of(reported, MASTERS)
    assert [(each.label, each.evidence) for each in found] == expected
    assert {each.text for each in found} <= {"do t-1"}


def test_lessons_come_in_the_order_in_which_they_were_reported() -> None:
    reported = [
        Reported(decided("late"), outcome("late", at_ms=T0 + 2 * DAY)),
        Reported(decided("early"), outcome("early", at_ms=T0 + DAY)),
    ]
    assert [(each.text, each.task) for each in lessons_of(reported, MASTERS)] == [
        ("do early", 1),
        ("do late", 0),
    ]


def test_written_lessons_are_of_masters_there_are() -> None:
    seeds = [Example("a line", DEV), Example("a line", DEV), Example("old", "gone-master")]
    found = written_lessons(seeds, MASTERS, Weighing())
    assert [each.label for each in found if each.text == "a line"] == [DEV]
    assert {each.label for each in found} == {*MASTERS.names}
    assert "old" not in {each.text for each in found}
    assert len({each.task for each in found}) == len(found)
    assert max(each.task for each in found) < 0


def test_a_lie_is_outvoted_by_its_neighbours(encoder: Encoder) -> None:
    lessons = [*heard(CRASHES[1:], DEV), *heard(BUILDS, CICD, first=10), *heard(CRASHES[:1], SEC)]
    assert labels(lessons, encoder)[CRASHES[0]] == DEV


def test_a_task_that_failed_gets_the_master_that_did_such_tasks_well(encoder: Encoder) -> None:
    lessons = [*heard(CRASHES[1:], DEV), *heard(CRASHES[:1], CICD, -1.0, 7), *heard(BUILDS, CICD)]
    assert labels(lessons, encoder)[CRASHES[0]] == DEV


def test_what_changed_hands_is_labelled_with_who_has_it_now(encoder: Encoder) -> None:
    fresh = [
        Lesson(text, label, evidence, 20 + n, T0 + 8 * DAY)
        for n, text in enumerate(CRASHES[3:])
        for label, evidence in ((DEV, -1.0), (SEC, 1.0))
    ]
    lessons = [*heard(CRASHES[:3], DEV), *heard(BUILDS, CICD, first=10)]
    assert labels(lessons, encoder)[CRASHES[0]] == DEV
    confirmed = [each._replace(at_ms=T0 + 8 * DAY) for each in heard(BUILDS, CICD, first=30)]
    after = labels([*lessons, *fresh, *confirmed], encoder, T0 + 8 * DAY)
    assert {after[text] for text in CRASHES} == {SEC}
    assert {after[text] for text in BUILDS} == {CICD}


def test_what_was_written_fades_with_the_outcomes_of_its_master(encoder: Encoder) -> None:
    written = written_lessons([], MASTERS, Weighing())
    crash = "The settings page crashes when the profile has no avatar"  # of masters.toml
    weights = []
    for outcomes in ([], heard(CRASHES, DEV)):
        material = weigh([*written, *outcomes], encoder, T0, Weighing())
        (weight,) = (each.weight for each in material.background if each.text == crash)
        weights.append(weight)
        assert {each.label for each in material.heard} == ({DEV} if outcomes else set())
    few = Weighing(until_data=1)
    material = weigh([*written, *heard(CRASHES, DEV)], encoder, T0, few)
    (faded,) = (each.weight for each in material.background if each.text == crash)
    assert faded == pytest.approx(weights[1] * (1 / 7) / (100 / 106), rel=1e-2)


def test_a_label_heard_of_once_is_background(encoder: Encoder) -> None:
    material = weigh([*heard(CRASHES, DEV), *heard(BUILDS[:1], CICD)], encoder, T0, Weighing())
    assert {each.label for each in material.heard} == {DEV}
    assert [each.label for each in material.background] == [CICD]
