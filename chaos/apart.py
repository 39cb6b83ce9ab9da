"""Plays a row in a process of its own, small enough to fork: `python -m chaos.apart MODULE:NAME`.

Forking the process that plays the whole matrix would copy whatever threads it has at the moment.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from chaos.matrix import Result, Run
from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_S = 900.0


def apart(name: str) -> Callable[[Run], Result]:
    """Make a row's `play` of `<module>:<function>`, which takes a `Run` and returns a `Result`."""
    return partial(_play, name)


def _play(name: str, run: Run) -> Result:
    arguments = (name, str(run.directory), str(run.chance.getrandbits(32)), str(int(run.full)))
    done = subprocess.run(
        (sys.executable, "-m", "chaos.apart", *arguments),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode:
        raise FatalError(f"{name} ended with {done.returncode}: {done.stderr.decode()[-3000:]}")
    return msgspec.json.decode(done.stdout.rpartition(b"\n")[2], type=Result)


def main() -> None:
    """Play what the command line names, and print its result as the last line."""
    name, directory, seed, full = sys.argv[1:]
    module, _, function = name.partition(":")
    run = Run(Path(directory), random.Random(int(seed)), full == "1")
    result: Result = getattr(import_module(module), function)(run)
    sys.stdout.write("\n" + msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
