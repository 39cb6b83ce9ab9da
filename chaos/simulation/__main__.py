"""The command line: play seeds, and say which ones a queue, ours or a mutant, does not survive."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from chaos.mutants import SYSTEMS
from chaos.seeds import remembered
from chaos.servers import Server
from chaos.simulation import Played, System, Transport, one_core, play

_PROGRESS = 250  # seeds between lines


def main() -> int:
    """Play the seeds that ever failed, then a range of them; returns 1 if any is survived badly."""
    options = _parse()
    system = SYSTEMS[options.mutant] if options.mutant else System()
    seeds = [*remembered("simulation"), *range(options.first, options.first + options.seeds)]
    failed: list[Played] = []
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="simulation-") as directory,
        one_core(),
        Server(Path(directory), "--appendonly", "no") as server,
    ):
        transport = Transport(server.url)
        for count, seed in enumerate(seeds, 1):
            played = play(seed, transport, system)
            if played.violations:
                failed.append(played)
            if count % _PROGRESS == 0 or count == len(seeds):
                pace = count / (time.monotonic() - begun)
                _say(f"{count} seeds, {len(failed)} failed, {pace:.0f} seeds/s")
    for played in failed[:20]:
        _say(f"seed {played.seed}: {'; '.join(played.violations)}")
    if failed:
        _say(f"trace of seed {failed[0].seed}:", *failed[0].trace)
    return bool(failed)


def _say(*lines: str) -> None:
    sys.stdout.write("\n  ".join(lines) + "\n")
    sys.stdout.flush()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (0)")
    parser.add_argument("--mutant", choices=sorted(SYSTEMS), help="play a wrong queue")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
