"""The simulated queue loses and doubles nothing, whatever the seed; the same seed, the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.seeds import remembered
from chaos.servers import Server
from chaos.simulation import Transport, one_core, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEEDS = 600


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[Transport]:
    with one_core(), Server(tmp_path, "--appendonly", "no") as server:
        yield Transport(server.url)


def test_every_seed_is_survived(transport: Transport) -> None:
    for seed in [*remembered("simulation"), *range(SEEDS)]:
        played = play(seed, transport)
        assert not played.violations, "\n".join([f"seed {seed}", *played.trace])


def test_the_same_seed_gives_the_same_run(transport: Transport) -> None:
    for seed in range(20):
        assert play(seed, transport) == play(seed, transport)


def test_faults_do_strike(transport: Transport) -> None:
    traces = "\n".join(line for seed in range(60) for line in play(seed, transport).trace)
    for sign in (
        *("reply lost", "request lost", "refused", " ends", "fault pause", "fault flush"),
        *(" recovers ", " claims ", "fenced", "duplicate", "left", "blocked", "replayed"),
    ):
        assert sign in traces
