"""Builds a store from a directory, with a progress bar."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from redis.cluster import RedisCluster

from contracts.errors import CortexError, FatalError
from contracts.settings import load
from indexer.build import build_store
from indexer.encoding import announcing
from indexer.jobs import START_WORKER, RemoteEncoder
from indexer.remembering import build_history
from indexer.settings import Settings
from ops.output import progress_bar, remark
from ops.session import open_session
from vectors.collection import Collection
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder
from vectors.follow import Follower
from vectors.log import current_versions
from vectors.succession import log_embedder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from redis import Redis

    from indexer.build import BuildReport
    from indexer.encoding import Progress
    from streams.keys import Keys
    from vectors.types import Encoder, FileState


def indexer_settings() -> Settings:
    """Read the settings indexers have, from the environment.

    Raises:
        FatalError: a variable is malformed.
    """
    return load(Settings, os.environ)


def live_states(client: Redis, keys: Keys, store: Path, name: str) -> Mapping[str, FileState]:
    """What the live index holds of every file: snapshot and log, as who follows them sees it.

    Where there is no snapshot that goes with the log, what was committed to the log.

    Raises:
        TransientError: Redis could not be reached.
    """
    log_key = keys.vectors(name)
    with suppress(CortexError):
        embedder = log_embedder(client, log_key)
        if embedder is not None:
            opened = Collection.open(store, name, embedder=embedder)
            follower = Follower(client, opened, store, log_key)
            while follower.poll():
                pass
            return opened.states()
    return current_versions(client, keys.file_versions(name))


class Spread(NamedTuple):
    """Encoding on other machines.

    Attributes:
        jobs: how many are out at a time.
        queue: of RQ, that their workers listen to.
    """

    jobs: int
    queue: str


def build(
    source: Path, output: Path, chunk_size: int | None = None, spread: Spread | None = None
) -> BuildReport:
    """Index a directory and its git history into a store.

    What was ever embedded here before is not embedded again.

    Args:
        source: directory whose files are indexed, as its .gitignore allows.
        output: the store to write.
        chunk_size: characters a chunk aims to stay within; None is what indexers use.
        spread: who encodes; None is this process, on every core it may use.

    Raises:
        FatalError: the encoder cannot be loaded, or the store is of another one.
        TransientError: the disk failed, or jobs did.
    """
    settings = indexer_settings()
    with _encoder(settings, spread) as (bare, parallel):
        encoder = CachedEncoder(bare, settings.embedding_cache)
        with _progress("indexing") as progress:
            report = build_store(
                source,
                output,
                encoder,
                chunk_size=chunk_size or settings.chunk_chars,
                rules=settings.rules,
                parallel=parallel,
                progress=progress,
            )
        with _progress("remembering") as progress:
            build_history(
                source, output, report.collection, encoder, parallel=parallel, progress=progress
            )
    return report


@contextmanager
def _progress(what: str) -> Iterator[Callable[[Progress], None]]:
    """Show progress as a bar where a person is watching, else as lines of the log."""
    with progress_bar(what) as show:

        def shown(now: Progress) -> None:
            show(now.texts, now.total)

        yield shown if sys.stderr.isatty() else announcing(what, shown)


@contextmanager
def _encoder(settings: Settings, spread: Spread | None) -> Iterator[tuple[Encoder, int]]:
    """Give an encoder and how many batches it takes at a time."""
    if spread is None:
        cores = len(os.sched_getaffinity(0))
        yield open_encoder(settings.encoder, threads=cores, side="passage"), cores
        return
    own = open_encoder(settings.encoder, side="passage")
    with open_session() as (client, _, _):
        in_cluster = isinstance(client, RedisCluster)
        if in_cluster:
            raise FatalError("RQ does not run on a cluster: give it a Redis of its own")
        remote = RemoteEncoder(client, spread.queue, own, settings.encoder)
        if not remote.workers:
            remark(f"no RQ worker listens to {spread.queue} yet: {START_WORKER} {spread.queue}")
        try:
            yield remote, spread.jobs
        finally:
            remote.close()
