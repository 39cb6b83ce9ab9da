"""The simulated world in short; in full: `python -m chaos.world`, whose figures are in docs."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import pytest

from chaos.world.company import Company, Hearsay
from chaos.world.coverage import Coverage
from chaos.world.deployment import Deployment
from chaos.world.play import Day, Scenario
from chaos.world.plot import draw
from chaos.world.summary import STEADY, Run, nightly_table, nights_to_recover, summary_table
from chaos.world.tasks import read_kinds

if TYPE_CHECKING:
    from pathlib import Path

MASTERS = ("development-master", "security-master", "cicd-master", "coordinator-master")


def test_nights_of_outcomes_close_most_of_the_gap_to_the_oracle(tmp_path: Path) -> None:
    days = Deployment(tmp_path, one_in=10).player(Scenario(nights=3, tasks=200)).play()
    assert {day.verdict for day in days[:-1]} == {"challenger"}
    gaps = [day.oracle - day.success for day in days]
    assert gaps[0] > 0.25  # the seed model does not know this company's habits
    assert gaps[-1] < 0.5 * gaps[0]
    assert days[-1].success > days[-1].rules


def run_of(scenario: str, seed: int, success: list[float], drift: int | None = None) -> Run:
    days = [
        Day(day=n, success=share, oracle=0.9, rules=0.5, drifted=n == drift, heard=250)
        for n, share in enumerate(success)
    ]
    return Run(scenario=scenario, seed=seed, days=days)


@pytest.mark.parametrize(
    ("success", "nights"),
    [
        ([0.9, 0.5, 0.6, 0.88, 0.6], 2),
        ([0.9, 0.88, 0.5], 0),
        ([0.9, 0.5, 0.6], None),
    ],
)
def test_recovery_is_counted_from_the_drift(success: list[float], nights: int | None) -> None:
    assert nights_to_recover(run_of("with a drift", 0, success, drift=1).days) == nights
    assert nights_to_recover(run_of(STEADY, 0, success).days) is None


def test_runs_are_laid_out_and_drawn(tmp_path: Path) -> None:
    runs = [
        run_of(STEADY, 0, [0.5, 0.85]),
        run_of(STEADY, 1, [0.6, 0.89]),
        run_of("lies", 0, [0.5, 0.8]),
        run_of("drift", 0, [0.5, 0.6], drift=1),
    ]
    nightly = nightly_table(runs)
    assert nightly.splitlines()[2] == ("| 0 | 55.0% of 90.0% | 50.0% of 90.0% | 50.0% of 90.0% |")
    lines = summary_table(runs).splitlines()
    assert lines[2] == "| as it is | 0 | 50.0% | 85.0% | 90.0% | 5.0 |  |  |"
    assert lines[4] == "| lies | 0 | 50.0% | 80.0% | 90.0% | 10.0 |  | 2.5 |"  # a mean of both days
    assert lines[5] == "| drift | 0 | 50.0% | 60.0% | 90.0% | 30.0 | never |  |"
    first, again = tmp_path / "first.svg", tmp_path / "again.svg"
    draw(runs, first)
    draw(runs, again)
    assert "tasks that succeed" in first.read_text()
    assert first.read_bytes() == again.read_bytes()


def test_what_happens_depends_on_the_seed_alone() -> None:
    def played(seed: int) -> list[object]:
        company = Company(seed, read_kinds(), Hearsay())
        jobs = company.jobs(3, 50)
        return [(job, company.work(job, MASTERS[0], MASTERS, 3)) for job in jobs]

    assert played(1) == played(1)
    assert played(1) != played(2)


@pytest.mark.parametrize("poisoned", [0.0, 0.1])
def test_as_much_is_made_up_and_missing_as_was_said(poisoned: float) -> None:
    company = Company(0, read_kinds(), Hearsay(poisoned=poisoned, wrong=0.0))
    jobs = company.jobs(0, 4_000)
    reports = [company.work(job, company.best(job.kind, MASTERS), MASTERS, 0) for job in jobs]
    heard = [report for report in reports if report is not None]
    assert len(heard) / len(jobs) == pytest.approx(0.85, abs=0.02)
    skills = [company.skill(job.kind, company.best(job.kind, MASTERS)) for job in jobs]
    truly = sum(skills) / len(skills)
    expected = truly * (1 - poisoned) + (1 - truly) * poisoned
    successes = sum(report.outcome.outcome == "success" for report in heard) / len(heard)
    assert successes == pytest.approx(expected, abs=0.02)
    late = [report.day for report in heard]
    assert late.count(1) / len(late) == pytest.approx(0.125, abs=0.02)
    assert late.count(2) / len(late) == pytest.approx(0.125, abs=0.02)


def test_a_drift_brings_new_kinds_and_costs_a_master_a_skill() -> None:
    company = Company(0, read_kinds(), Hearsay())
    before = {job.kind.name for job in company.jobs(0, 500)}
    deploy = next(kind for kind in company.kinds if kind.name == "deploy")
    assert company.best(deploy, MASTERS) == "cicd-master"
    company.drift()
    assert {job.kind.name for job in company.jobs(0, 500)} - before == {"analytics", "assistant"}
    assert company.best(deploy, MASTERS) == "development-master"


@pytest.mark.parametrize("exploration", [0.02, 0.1])
def test_the_truth_lies_in_off_policy_intervals(tmp_path: Path, exploration: float) -> None:
    coverage = Coverage(Deployment(tmp_path, one_in=100), seed=1, exploration=exploration)
    found = [coverage.log(number, 1_000) for number in range(40)]
    for name in ("ips", "snips", "dr", "lift"):
        assert fmean(each[name].inside for each in found) >= 0.9
        assert 0 < fmean(each[name].width for each in found) <= 2
