from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cortex_program import cortex, start
from rq import Queue, SimpleWorker
from rq.cron import CronScheduler
from rq.job import Job
from rq.serializers import JSONSerializer

from contracts.errors import FatalError
from learning.rounds import read_rounds
from learning.schedule import QUEUE, scheduler
from registry.registry import Registry
from streams.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

NIGHTLY = "0 3 * * *"


def test_when_its_time_has_come_a_worker_of_rq_runs_a_round(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEX_DATA_DIR", str(tmp_path))
    ours = scheduler(redis_client, NIGHTLY)
    assert ours.enqueue_jobs() == []  # not before three
    (job,) = ours.get_jobs()
    assert job.next_enqueue_time is not None
    assert job.next_enqueue_time - datetime.now(UTC) <= timedelta(days=1)
    job.next_enqueue_time = datetime.now(UTC)
    assert ours.enqueue_jobs() == [job]
    assert ours.enqueue_jobs() == []  # once a night

    queue = Queue(QUEUE, connection=redis_client, serializer=JSONSerializer)
    (job_id,) = queue.job_ids
    SimpleWorker([queue], connection=redis_client, serializer=JSONSerializer).work(burst=True)
    done = Job.fetch(job_id, connection=redis_client, serializer=JSONSerializer)
    assert done.is_finished, done.exc_info
    result = done.return_value()
    (written,) = read_rounds(Registry(tmp_path / "models"))
    assert result is not None
    assert result["verdict"] == written.verdict == "refused"
    assert result["reason"] == written.reason
    assert "too thin: 0 outcomes" in written.reason


def test_the_program_schedules_until_it_is_told_to_stop(
    redis_client: Redis, redis_url: str, eventually: Callable[..., None]
) -> None:
    process = start(redis_url, "learn", "--schedule", NIGHTLY)
    try:
        eventually(lambda: CronScheduler.all(redis_client), within=60.0)
        (running,) = CronScheduler.all(redis_client)
        (job,) = running.get_jobs()
        assert (job.cron, job.queue_name) == (NIGHTLY, QUEUE)
        process.terminate()
        _, complaints = process.communicate(timeout=10)
        assert process.returncode == 0, complaints
    finally:
        process.kill()
        process.communicate()
    assert CronScheduler.all(redis_client) == []


def test_what_is_no_schedule_is_said_plainly(redis_url: str) -> None:
    done = cortex(redis_url, "learn", "--schedule", "at night")
    assert done.returncode == 1
    assert "'at night' is no schedule" in done.stderr


def test_on_a_cluster_it_says_what_to_do_instead() -> None:
    cluster = Cluster.__new__(Cluster)  # nothing of it is asked
    with pytest.raises(FatalError, match="RQ does not run on a cluster"):
        scheduler(cluster, NIGHTLY)


def test_one_round_now_prints_what_it_came_to(redis_url: str, tmp_path: Path) -> None:
    done = cortex(redis_url, "learn", "--json", CORTEX_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert '"verdict":"refused"' in done.stdout
    read = cortex(redis_url, "learn", "--dry-run", CORTEX_DATA_DIR=str(tmp_path))
    assert "too thin: 0 outcomes" in read.stdout
