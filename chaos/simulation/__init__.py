"""Deterministic simulation of the queue: every interleaving and fault is drawn from one seed.

A scheduler moves workers, producers, chores and an operator one exchange with the server at a time
and decides what becomes of each exchange; the server is real. Time stands still unless the
scheduler lets it pass, by ageing what the server holds. The same seed gives the same run.

    python -m chaos.simulation --seeds 5000 [--from N] [--mutant NAME]
"""

from __future__ import annotations

from chaos.simulation.system import System
from chaos.simulation.transport import Transport, age, one_core
from chaos.simulation.world import Played, play

__all__ = ["Played", "System", "Transport", "age", "one_core", "play"]
