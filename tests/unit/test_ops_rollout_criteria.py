from __future__ import annotations

import pytest

from ops import rollout_criteria as judge
from ops.rehearsal import Rehearsal
from ops.rollout_criteria import Archived
from ops.summary import Seen, Summary, Window, summarise
from rollout.seen import Heard

MASTER = "a"


def arm(group: str, right: int, known: int) -> list[tuple[Seen, Heard]]:
    return [
        (
            Seen(
                task_id=f"{group}-{number}",
                selected_master=MASTER,
                method="rule-based",
                confidence=0.5,
                ab_test_group="treatment" if group == "treatment" else "control",
                context_status="ok",
                latency_ms=1.0,
                config_version=1,
            ),
            Heard(MASTER if number < right else "b", "success", None),
        )
        for number in range(known)
    ]


def summary(control: tuple[int, int], treatment: tuple[int, int]) -> Summary:
    pairs = [*arm("control", *control), *arm("treatment", *treatment)]
    return summarise(
        Window(
            since_ms=0,
            until_ms=1,
            complete=True,
            decisions=[(0, seen) for seen, _ in pairs],
            heard={seen.task_id: [heard] for seen, heard in pairs},
            shares={1: 0.5},
        )
    )


@pytest.mark.parametrize(
    ("control", "treatment", "verdict"),
    [
        ((80, 100), (80, 100), "pass"),
        ((80, 100), (90, 100), "pass"),
        ((80, 100), (76, 100), "not measurable"),
        ((80, 100), (50, 100), "fail"),
        ((80, 100), (29, 29), "not measurable"),
    ],
)
def test_accuracy_has_three_answers(
    control: tuple[int, int], treatment: tuple[int, int], verdict: str
) -> None:
    found = judge.accuracy(summary(control, treatment))
    assert (found.verdict, found.target) == (verdict, 0.8)


@pytest.mark.parametrize(
    ("archived", "verdict"),
    [
        (Archived(10, 0.0, 70.0), "pass"),
        (Archived(10, 70.1, 70.0), "fail"),
        (Archived(0, 0.0, 70.0), "fail"),
        (Archived(10, 0.0, 70.0, "it does not end with line 10"), "fail"),
    ],
)
def test_metrics(archived: Archived, verdict: str) -> None:
    assert judge.metrics(archived).verdict == verdict


@pytest.mark.parametrize(
    ("seconds", "decided", "before", "after", "verdict"),
    [
        (0.4, 300, 100, 200, "pass"),
        (1.0, 300, 100, 200, "fail"),  # too slow
        (0.4, 299, 100, 200, "fail"),  # lost
        (0.4, 301, 100, 200, "fail"),  # doubled
        (0.0, 300, 0, 300, "fail"),  # nothing was there to roll back
        (0.9, 300, 300, 0, "fail"),  # nobody was seen to follow
    ],
)
def test_a_rollback_works_if_everything_about_it_does(
    seconds: float, decided: int, before: int, after: int, verdict: str
) -> None:
    rehearsal = Rehearsal(
        seconds=seconds, submitted=300, decided=decided, before=before, after=after
    )
    assert judge.rollback(rehearsal).verdict == verdict
