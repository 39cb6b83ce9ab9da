"""A first build spread over RQ workers, with the real encoder and RQ's own worker processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from cortex_program import ROOT, cortex, environment
from indexer_trees import HashEncoder, contents
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from contracts.errors import TransientError
from indexer.jobs import START_WORKER, RemoteEncoder
from tests.system import wait_until
from vectors.collection import Collection
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from redis import Redis


QUEUE = "index-test"
TEXTS = ["how a lease is renewed", "def claim(self): ...", ""]
PATIENCE = 90


@contextmanager
def worker(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as the documentation says how to start one."""
    command = [*START_WORKER.split()[1:], "--url", url, QUEUE]
    process = subprocess.Popen(
        [sys.executable, "-m", "rq.cli", *command],
        env=environment(url, OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def remote(redis_client: Redis) -> Iterator[RemoteEncoder]:
    encoder = RemoteEncoder(redis_client, QUEUE, open_encoder(), None)
    yield encoder
    encoder.close()


def started(client: Redis) -> list[str]:
    """Ids of jobs that a worker is at."""
    keys = client.keys("rq:job:*")
    jobs = [
        Job.fetch(key.decode().split(":")[2], connection=client, serializer=JSONSerializer)
        for key in keys
        if key.count(b":") == 2
    ]
    return [job.id for job in jobs if job.get_status() == JobStatus.STARTED]


class Asking:
    """A call of `encode` under way on a thread of its own."""

    def __init__(self, encoder: RemoteEncoder) -> None:
        self.found: np.ndarray | None = None
        self.error: Exception | None = None
        self._encoder = encoder
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()

    def _ask(self) -> None:
        try:
            self.found = self._encoder.encode(TEXTS)
        except TransientError as error:
            self.error = error

    def vectors(self) -> bytes:
        self.thread.join(PATIENCE)
        assert self.found is not None
        return self.found.astype("<f2").tobytes()


def expected() -> bytes:
    return open_encoder().encode(TEXTS).astype("<f2").tobytes()


def test_a_build_by_jobs_equals_one_without(redis_url: str, tmp_path: Path) -> None:
    source = ("index", "build", "--source", str(ROOT / "registry"), "--output")
    apart = {"CORTEX_DATA_DIR": str(tmp_path / "apart")}
    alone = {"CORTEX_DATA_DIR": str(tmp_path / "alone")}
    with worker(redis_url), worker(redis_url):
        jobs = ("--jobs", "4", "--queue", QUEUE)
        done = cortex(redis_url, *source, str(tmp_path / "a"), *jobs, **apart)
        assert done.returncode == 0, done.stderr
    done = cortex(redis_url, *source, str(tmp_path / "b"), **alone)
    assert done.returncode == 0, done.stderr
    by_jobs, without = (Collection.open(tmp_path / each, "code") for each in "ab")
    assert by_jobs.chunk_count > 20
    assert by_jobs.files() == without.files()
    assert contents(by_jobs) == contents(without)


def test_the_job_of_a_worker_that_was_killed_is_done_again(
    redis_client: Redis, redis_url: str, remote: RemoteEncoder
) -> None:
    with worker(redis_url) as doomed:
        asking = Asking(remote)
        wait_until(lambda: started(redis_client), PATIENCE, "the job begun")
        doomed.kill()
        doomed.wait()
    (entry,) = redis_client.zrange(f"rq:wip:{QUEUE}", 0, -1)
    redis_client.zadd(f"rq:wip:{QUEUE}", {entry: 1})  # as if its heartbeat had long been silent
    with worker(redis_url):
        assert asking.vectors() == expected()
    assert redis_client.keys("rq:job:*") == []


def test_a_job_that_the_server_lost_is_sent_again(
    redis_client: Redis, redis_url: str, remote: RemoteEncoder
) -> None:
    asking = Asking(remote)
    wait_until(lambda: redis_client.llen(f"rq:queue:{QUEUE}"), PATIENCE, "the job sent")
    redis_client.flushall()
    with worker(redis_url):
        assert asking.vectors() == expected()


def test_a_worker_with_another_export_of_the_model_is_refused(
    redis_client: Redis, redis_url: str
) -> None:
    other = RemoteEncoder(redis_client, QUEUE, HashEncoder("of another machine"), None)
    with worker(redis_url), pytest.raises(TransientError, match="not with of another machine"):
        other.encode(TEXTS)


def test_who_gives_up_takes_its_jobs_along(redis_client: Redis, remote: RemoteEncoder) -> None:
    assert remote.workers == 0
    asking = Asking(remote)
    wait_until(lambda: redis_client.llen(f"rq:queue:{QUEUE}"), PATIENCE, "the job sent")
    remote.close()
    asking.thread.join(PATIENCE)
    assert str(asking.error) == "given up"
    assert redis_client.keys("rq:job:*") == []
