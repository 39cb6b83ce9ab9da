"""Rounds of learning on outcomes of a simulated company; encoder and registry are the real ones."""

from __future__ import annotations

import dataclasses
import threading
from statistics import fmean
from typing import TYPE_CHECKING

import msgspec
import pytest

from chaos.world.deployment import Deployment
from chaos.world.play import Scenario
from contracts.errors import TransientError
from learning.gate import GateSettings
from learning.nightly import run
from learning.rounds import read_rounds
from registry.opening import open_model, with_bandit
from registry.registry import Registry
from router.bandit import ThompsonModel
from router.masters import Masters

if TYPE_CHECKING:
    from learning.nightly import Workshop


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("deployment"), one_in=10)


@pytest.fixture
def workshop(deployment: Deployment) -> Workshop:
    """What a night finds after one day of the company."""
    player = deployment.player(Scenario(tasks=200))
    player.play_day(0)
    return player.workshop(0)


def test_a_round_registers_a_challenger_and_writes_itself_down(workshop: Workshop) -> None:
    steps: list[str] = []
    done = run(
        dataclasses.replace(workshop, progress=lambda step, _done, _total: steps.append(step))
    )
    assert done.verdict == "challenger"
    assert done.version is not None
    assert workshop.registry.aliases() == {"challenger": done.version}
    model = open_model(workshop.registry.path(done.version), masters=workshop.masters.names)
    assert model.labels == workshop.masters.names
    assert model.config.thresholds == done.thresholds
    assert done.comparison is not None
    assert 0 < done.comparison.n < done.outcomes
    assert read_rounds(workshop.registry) == [done]
    assert {"embedding", "head"} <= set(steps)


def test_a_second_round_on_the_same_data_is_refused_as_unchanged(workshop: Workshop) -> None:
    first = run(workshop)
    second = run(workshop)
    assert second.verdict == "refused"
    assert "unchanged" in second.reason
    assert workshop.registry.aliases() == {"challenger": first.version}
    assert [each.verdict for each in read_rounds(workshop.registry)] == ["challenger", "refused"]


def test_a_dry_run_compares_and_leaves_no_trace(workshop: Workshop) -> None:
    done = run(workshop, dry_run=True)
    assert done.verdict == "challenger"
    assert done.comparison is not None
    assert done.version is None
    assert workshop.registry.versions() == []
    assert read_rounds(workshop.registry) == []


def test_a_round_learns_how_to_explore_where_that_is_asked_for(workshop: Workshop) -> None:
    run(workshop)
    folder = workshop.registry.path("challenger")
    assert not isinstance(with_bandit(folder, open_model(folder)), ThompsonModel)
    thompson = msgspec.structs.replace(workshop.settings, policy="thompson")
    other = Registry(workshop.registry.root.parent / "other")
    run(dataclasses.replace(workshop, settings=thompson, registry=other))
    folder = other.path("challenger")
    model = with_bandit(folder, open_model(folder))
    assert isinstance(model, ThompsonModel)
    texts = [each.decision.text for each in workshop.reported()]
    scores = [workshop.rules.score(text) for text in texts]
    predictions = model.predict(texts, workshop.encoder.encode(texts), scores)
    # Whom a task went to with success, the bandit believes in more than where it failed.
    believed: dict[bool, list[float]] = {True: [], False: []}
    for prediction, (decision, outcome) in zip(predictions, workshop.reported(), strict=True):
        assert prediction.chances is not None
        believed[outcome.outcome == "success"].append(prediction.chances[decision.selected_master])
    assert fmean(believed[True]) > 2 * fmean(believed[False])


def test_outcomes_of_masters_that_are_gone_count_as_none(workshop: Workshop) -> None:
    masters = Masters.parse(
        'fallback = "new"\n'
        + "".join(f'[[master]]\nname = "{name}"\ndescription = "x"\n' for name in ("new", "other"))
    )
    done = run(dataclasses.replace(workshop, masters=masters))
    assert done.reason.startswith("too thin: 0 outcomes")


def test_without_outcomes_it_is_refused_as_too_thin(deployment: Deployment) -> None:
    done = run(deployment.player(Scenario()).workshop(0))
    assert done.verdict == "refused"
    assert done.reason.startswith("too thin: 0 outcomes")


def test_a_candidate_that_the_gate_refuses_is_not_registered(workshop: Workshop) -> None:
    # Nothing can be this much better than the champion.
    gate = GateSettings(margin=-1.0)
    settings = msgspec.structs.replace(workshop.settings, gate=gate)
    done = run(dataclasses.replace(workshop, settings=settings))
    assert done.verdict == "refused"
    assert done.reason.startswith("worse: ")
    assert done.comparison is not None
    assert workshop.registry.versions() == []
    assert workshop.registry.aliases() == {}
    assert read_rounds(workshop.registry) == [done]


def test_a_new_champion_leaves_only_later_outcomes_as_new(deployment: Deployment) -> None:
    player = deployment.player(Scenario(tasks=200))
    player.play_day(0)
    workshop = player.workshop(0)
    first = run(workshop)
    workshop.registry.promote(first.version, who="the test")
    again = run(workshop, dry_run=True)
    assert (again.champion, again.new, again.verdict) == (first.version, 0, "refused")
    player.play_day(1)
    later = run(player.workshop(1), dry_run=True)
    assert later.new == later.outcomes - first.outcomes > 0
    assert later.comparison is not None
    assert later.comparison.n <= round(0.3 * later.new)


def test_there_is_one_round_at_a_time(workshop: Workshop) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def hold(_step: str, _done: int, _total: int) -> None:
        begun.set()
        assert may_end.wait(60)

    first = threading.Thread(target=run, args=(dataclasses.replace(workshop, progress=hold),))
    first.start()
    try:
        assert begun.wait(60)
        with pytest.raises(TransientError, match="another round is running"):
            run(workshop)
    finally:
        may_end.set()
        first.join()
    assert [each.verdict for each in read_rounds(workshop.registry)] == ["challenger"]


def test_a_line_that_was_cut_short_is_no_round(workshop: Workshop) -> None:
    run(workshop)
    log = workshop.registry.root / "rounds" / "rounds.jsonl"
    log.write_bytes(log.read_bytes() + b'{"at": "2026')
    assert len(read_rounds(workshop.registry)) == 1
    run(workshop)
    assert [each.verdict for each in read_rounds(workshop.registry)] == ["challenger", "refused"]


def test_a_disk_that_fails_is_said_to_fail(workshop: Workshop) -> None:
    workshop.registry.root.mkdir(parents=True)
    (workshop.registry.root / "rounds").write_text("no folder")
    with pytest.raises(TransientError, match="failed on the disk"):
        run(workshop)
