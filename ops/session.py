"""What every command that talks to Redis needs: settings, a connection, the names, plain errors."""

from __future__ import annotations

import getpass
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contracts.errors import FatalError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from streams.keys import Keys
    from worker.settings import Settings


class Session(NamedTuple):
    """A connection and the names of this deployment's keys.

    Attributes:
        keys: for names that are the same in every partition.
        parts: names of each partition; one where the queue is not partitioned.
    """

    client: Redis
    keys: Keys
    parts: tuple[Keys, ...]

    @property
    def buried(self) -> tuple[Keys, ...]:
        """Where dead letters are: in each partition, and aside, of file changes and outcomes."""
        from streams.partitions import aside

        beside = (
            aside(self.client, self.keys.prefix, "files"),
            aside(self.client, self.keys.prefix, "outcomes"),
        )
        return tuple(dict.fromkeys((*self.parts, *beside)))


def read_settings() -> Settings:
    """Read the settings workers have, from the environment.

    Raises:
        FatalError: a variable is malformed.
    """
    from contracts.settings import load
    from worker.settings import Settings

    return load(Settings, os.environ)


@contextmanager
def open_session(
    settings: Settings | None = None, *, patience: float | None = None
) -> Iterator[Session]:
    """Connect to `REDIS_URL`, or to the embedded server in `CORTEX_DATA_DIR` where that is unset.

    Args:
        settings: if they were read already.
        patience: seconds for the server to be there; commands that run until they are told to stop
            wait `streams.connect.FOREVER`.

    Raises:
        TransientError: the server failed while the block ran; trying again may help.
        FatalError: it cannot be reached as configured, or refused a command.
    """
    from redis.exceptions import RedisError

    from streams.connect import connect
    from streams.errors import is_transient
    from streams.partitions import layout

    settings = settings or read_settings()
    parts = layout(settings.prefix, settings.partitions)
    client = connect(
        settings.redis_url, data_dir=Path(settings.data_dir), role="cli", patience=patience
    )
    try:
        yield Session(client, parts[0], parts)
    except RedisError as error:
        kind = TransientError if is_transient(error) else FatalError
        raise kind(f"Redis: {error}") from error
    finally:
        client.close()


def current_user() -> str:
    """Who runs this, for logs of changes."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id need not have a name
        return f"uid {os.getuid()}"
