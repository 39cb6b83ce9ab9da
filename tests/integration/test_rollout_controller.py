"""The controller on a real server: alone, beside others, and when it is told to stop."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from cortex_program import cortex, start
from rq import Queue, SimpleWorker
from rq.cron import CronScheduler
from rq.job import Job
from rq.serializers import JSONSerializer

from chaos.rollout.__main__ import cases
from chaos.rollout.company import VERSION, Company
from chaos.rollout.play import play, publish
from contracts.errors import TransientError
from contracts.messages import RolloutConfig
from rollout import commands
from rollout.controller import WHO, Controller
from rollout.settings import Settings
from rollout.statistics import planning
from streams.control import read_config, read_log
from streams.keys import Keys
from streams.lease import hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

KEYS = Keys()
FRESH = RolloutConfig()
PLAN = Settings().plan
HURRIED = cases(PLAN)["bad, put into canary"].plan


def enter(client: Redis, stage: str) -> RolloutConfig:
    return commands.enter_stage(client, KEYS, PLAN, stage, who="ann", why="go", model=VERSION)


def feed(client: Redis, company: Company, tasks: int) -> None:
    """Have tasks decided as the live configuration says, and reported."""
    config = read_config(client, KEYS, FRESH)
    publish(client, KEYS, company, company.decide(company.tasks(tasks), config))


def controller(client: Redis, **options: object) -> Controller:
    return Controller(client, (KEYS,), HURRIED, FRESH, **options)


@pytest.mark.parametrize("case", list(cases(PLAN)))
@pytest.mark.parametrize("seed", [3])
def test_it_does_the_right_thing_alone(redis_client: Redis, case: str, seed: int) -> None:
    chosen = cases(PLAN)[case]
    run = play(redis_client, chosen.plan, chosen.scenario, seed)
    assert run.ended.startswith(chosen.right), run
    furthest = {"equally good": "full"}.get(case, chosen.scenario.stage)
    assert run.furthest == furthest, run
    assert redis_client.keys() == []


def test_a_bad_model_goes_within_the_outcomes_that_were_predicted(redis_client: Redis) -> None:
    chosen = cases(PLAN)["bad, put into canary"]
    world = planning.Scenario(0.8, 0.6, 0.1)
    predicted = planning.outcomes_until(world, alpha=PLAN.alpha, look_every=95)
    runs = [play(redis_client, chosen.plan, chosen.scenario, seed) for seed in range(5)]
    assert all(run.ended == "rolled back" for run in runs)
    assert max(run.outcomes for run in runs) <= predicted.max()


def test_what_it_does_stands_in_the_log_with_the_reason(redis_client: Redis) -> None:
    enter(redis_client, "canary")
    company, ours = Company(0.3, seed=1), controller(redis_client)
    while (step := ours.once()) is not None and step.action.kind == "hold":
        feed(redis_client, company, 200)
    last = next(iter(read_log(redis_client, KEYS)))
    assert (last.who, last.after["percentage"], last.after["stage"]) == (WHO, "0.0", "shadow")
    assert "surely worse" in last.why
    assert last.after["paused"] == f"rolled back: {last.why}"
    held = ours.once()
    assert held is not None
    assert (held.action.kind, held.verdicts) == ("hold", ())
    assert next(iter(read_log(redis_client, KEYS))) == last


def test_someone_elses_change_wins(redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(redis_client, "canary")
    feed(redis_client, Company(0.1, seed=1), 1_000)
    ours, decide = controller(redis_client), commands.rollback

    def overtaken(*args: object, **fields: object) -> RolloutConfig:
        enter(redis_client, "quarter")  # between its decision and its step
        return decide(*args, **fields)

    monkeypatch.setattr(commands, "rollback", overtaken)
    with pytest.raises(TransientError, match="read again"):
        ours.once()
    config = read_config(redis_client, KEYS, FRESH)
    assert (config.stage, config.paused) == ("quarter", None)


def test_failures_are_remembered_by_whoever_evaluates_next(redis_client: Redis) -> None:
    enter(redis_client, "canary")
    company = Company(0.8, seed=1)
    config = read_config(redis_client, KEYS, FRESH)
    slow = [
        msgspec.structs.replace(each, latency_ms=500.0)
        for each in company.decide(company.tasks(1_000), config)
    ]
    publish(redis_client, KEYS, company, slow)
    kinds = []
    for _ in range(3):
        step = controller(redis_client).once()
        assert step is not None
        kinds.append(step.action.kind)
    assert kinds == ["hold", "hold", "rollback"]


def test_a_dry_run_changes_nothing(redis_client: Redis) -> None:
    before = enter(redis_client, "canary")
    feed(redis_client, Company(0.1, seed=1), 1_000)
    step = controller(redis_client, dry_run=True).once()
    assert step is not None
    assert step.action.kind == "rollback"
    assert read_config(redis_client, KEYS, FRESH) == before


def test_one_leads_and_the_next_takes_over(
    redis_client: Redis, eventually: Callable[..., None]
) -> None:
    enter(redis_client, "canary")
    stopping = [threading.Event(), threading.Event()]
    threads = [
        threading.Thread(
            target=controller(redis_client, lease_ms=500).run, args=(each, 0.01), daemon=True
        )
        for each in stopping
    ]
    with hold(redis_client, KEYS.rollout_lease) as token:
        assert token is not None
        assert controller(redis_client).once() is None
    threads[0].start()
    eventually(lambda: redis_client.exists(KEYS.rollout_lease))
    first = redis_client.get(KEYS.rollout_lease)
    threads[1].start()
    stopping[0].set()
    threads[0].join(10)
    eventually(lambda: redis_client.get(KEYS.rollout_lease) not in {None, first})
    feed(redis_client, Company(0.1, seed=1), 1_000)
    eventually(lambda: read_config(redis_client, KEYS, FRESH).paused)
    stopping[1].set()
    threads[1].join(10)
    assert not redis_client.exists(KEYS.rollout_lease)


def test_what_cannot_be_observed_is_paused(
    redis_client: Redis, eventually: Callable[..., None]
) -> None:
    enter(redis_client, "canary")
    redis_client.set(KEYS.outcomes, "no stream")
    stopping = threading.Event()
    thread = threading.Thread(
        target=controller(redis_client).run, args=(stopping, 0.01), daemon=True
    )
    thread.start()
    eventually(lambda: read_config(redis_client, KEYS, FRESH).paused)
    stopping.set()
    thread.join(10)
    paused = read_config(redis_client, KEYS, FRESH)
    assert paused.percentage == PLAN.stage("canary").percentage
    assert "could not be observed 5 times in a row" in (paused.paused or "")


def test_the_program_rolls_back_alone_and_stops_when_told(
    redis_client: Redis, redis_url: str, eventually: Callable[..., None]
) -> None:
    enter(redis_client, "canary")
    feed(redis_client, Company(0.1, seed=1), 1_000)
    process = start(redis_url, "rollout", "run", "--interval", "0.1")
    try:
        eventually(lambda: read_config(redis_client, KEYS, FRESH).paused, within=60.0)
        process.terminate()
        _, logged = process.communicate(timeout=10)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, logged
    assert any(json.loads(line)["event"] == "rollback" for line in logged.splitlines())
    assert read_config(redis_client, KEYS, FRESH).percentage == 0.0
    assert not redis_client.exists(KEYS.rollout_lease)


def test_the_program_evaluates_once(redis_client: Redis, redis_url: str) -> None:
    assert "by hand" in cortex(redis_url, "rollout", "run", "--once").stdout
    enter(redis_client, "canary")
    feed(redis_client, Company(0.1, seed=1), 1_000)
    done = cortex(redis_url, "rollout", "run", "--once", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["kind"] == "rollback"
    assert {gate["answer"] for gate in said["gates"]} >= {"pass", "fail"}
    shown = cortex(redis_url, "rollout", "run", "--once").stdout
    assert shown.startswith("rollback: canary: success -0.")
    assert "sample-ratio" in shown
    with hold(redis_client, KEYS.rollout_lease):
        assert "another controller leads" in cortex(redis_url, "rollout", "run", "--once").stdout


def test_by_the_clock_a_worker_of_rq_evaluates(
    redis_client: Redis,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., None],
) -> None:
    enter(redis_client, "canary")
    feed(redis_client, Company(0.1, seed=1), 1_000)
    process = start(redis_url, "rollout", "run", "--schedule", "* * * * *")
    try:
        eventually(lambda: CronScheduler.all(redis_client), within=60.0)
        (running,) = CronScheduler.all(redis_client)
        (job,) = running.get_jobs()
        process.terminate()
        _, complaints = process.communicate(timeout=10)
        assert process.returncode == 0, complaints
    finally:
        process.kill()
        process.communicate()
    monkeypatch.setenv("REDIS_URL", redis_url)
    queue = Queue(job.queue_name, connection=redis_client, serializer=JSONSerializer)
    made = queue.enqueue(job.func_name)
    SimpleWorker([queue], connection=redis_client, serializer=JSONSerializer).work(burst=True)
    done = Job.fetch(made.id, connection=redis_client, serializer=JSONSerializer)
    assert done.is_finished, done.exc_info
    result = done.return_value()
    assert result is not None
    assert result["kind"] == "rollback"
    assert read_config(redis_client, KEYS, FRESH).percentage == 0.0


def test_a_plan_that_makes_no_sense_is_said_plainly(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("alpha = 2")
    done = cortex(redis_url, "rollout", "run", "--once", CORTEX_ROLLOUT=str(tmp_path / "plan.toml"))
    assert done.returncode == 1
    assert "plan.toml" in done.stderr
