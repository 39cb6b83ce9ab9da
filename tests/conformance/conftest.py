"""The server under test: each one found in turn, in place of the embedded one alone.

The modules here hold no tests of their own. They borrow those of `tests/integration` that say what
Cortex needs of a server, so that there is one wording of it.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaos.binaries import binaries
from chaos.servers import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What is borrowed from there imports its helpers by name.
sys.path.append(str(Path(__file__).parent.parent / "integration"))


@pytest.fixture(scope="session", params=binaries().values(), ids=binaries().keys())
def binary(request: pytest.FixtureRequest) -> Path:
    """The server."""
    found: Path = request.param
    return found


@pytest.fixture(scope="session")
def redis_url(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one such server for the whole session."""
    with Server(tmp_path_factory.mktemp("redis"), binary=binary) as server:
        yield server.url


@pytest.fixture
def make_server(binary: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Factory of running servers: `make_server(directory=None, *options_of_the_server)`."""
    with ExitStack() as running:

        def make(directory: Path | None = None, *options: str) -> Server:
            number = len(list(tmp_path.iterdir()))
            server = Server(directory or tmp_path / f"server{number}", *options, binary=binary)
            return running.enter_context(server)

        yield make
