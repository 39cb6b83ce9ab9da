"""`cortex index`: builds a store, says how it is, and brings it back in step."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson, Store

if TYPE_CHECKING:
    from vectors.manifest import SnapshotInfo

app = typer.Typer(no_args_is_help=True, help="Build and check a store of indexed files.")

Source = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Directory to index.")]


@app.command()
def build(  # noqa: PLR0913 - options of a command
    *,
    source: Source,
    output: Annotated[Path, typer.Option(help="The store to write.")],
    chunk_size: Annotated[
        int | None, typer.Option(min=50, help="Characters a chunk aims to stay within.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Let RQ workers encode, so many batches at a time."),
    ] = None,
    queue: Annotated[str, typer.Option(help="RQ queue of those workers.")] = "cortex-index",
    as_json: AsJson = False,
) -> None:
    """Index every file of a directory that .gitignore does not hide. Needs no Redis.

    With --jobs, texts are encoded by RQ workers on any number of machines.
    """
    from ops.building import Spread
    from ops.building import build as build_store
    from ops.logs import log_to_stderr
    from ops.output import print_json, print_line

    log_to_stderr()
    spread = Spread(jobs, queue) if jobs else None
    report = build_store(source, output, chunk_size, spread)
    if as_json:
        print_json(report)
    else:
        print_line(
            f"{report.files} files, {report.chunks} chunks in {report.seconds:.1f} s "
            f"({report.skipped} files without indexable text): {output / report.collection}"
        )


@app.command()
def issues(
    *,
    file: Annotated[
        str,
        typer.Option(
            metavar="JSONL",
            help='One {"id", "title", "body", "state"?, "labels"?, "url"?} a line, or as GitHub '
            "exports them; - is stdin.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The store to write.")],
    collection: Annotated[str, typer.Option(help="Name of the collection.")] = "issues",
    as_json: AsJson = False,
) -> None:
    """Index the issues of a tracker as a collection of their own. Needs no Redis."""
    from ops.issues import build as build_issues
    from ops.logs import log_to_stderr
    from ops.output import print_json, print_line

    log_to_stderr()
    report = build_issues(file, output, collection)
    if as_json:
        print_json(report)
    else:
        print_line(
            f"{report.files} issues, {report.chunks} chunks in {report.seconds:.1f} s: "
            f"{output / report.collection}"
        )


@app.command()
def reconcile(
    *,
    source: Source,
    collection: Annotated[str, typer.Option(help="Collection to compare with.")] = "code",
    as_json: AsJson = False,
) -> None:
    """Compare a directory with the live index and publish what differs, for indexers to repair."""
    from indexer.reconcile import reconcile as compare
    from indexer.scan import Tree
    from indexer.watch import publish_changes
    from ops.building import indexer_settings, live_states
    from ops.logs import log_to_stderr
    from ops.output import print_json, print_line
    from ops.session import open_session

    log_to_stderr()
    settings = indexer_settings()
    with open_session() as (client, keys, _):
        report = compare(
            Tree(source.resolve(), settings.rules),
            live_states(client, keys, settings.store, collection),
            lambda changes: publish_changes(client, keys, changes),
            collection=collection,
        )
    if as_json:
        print_json(report)
    else:
        print_line(
            f"{report.current} files current; published {report.missing} missing, "
            f"{report.stale} stale, {report.extra} extra"
        )


@app.command()
def status(*, store: Store = None, as_json: AsJson = False) -> None:
    """Show each collection's snapshot, its age, and how far the log is ahead of it."""
    from ops.output import print_json, print_table
    from ops.stores import existing_store
    from vectors.manifest import read_manifest

    path, names = existing_store(store)
    found = [info for name in names if (info := read_manifest(path, name))]
    lags = _lags(found)
    if as_json:
        print_json(
            [
                {
                    "collection": info.collection,
                    "generation": info.snapshot,
                    "files": info.files,
                    "chunks": info.chunks,
                    "embedder": info.embedder,
                    "created_at": info.created_at,
                    "age_s": _age_s(info),
                    "lag": lags[info.collection],
                }
                for info in found
            ]
        )
        return
    print_table(
        ("collection", "generation", "files", "chunks", "embedder", "age s", "lag"),
        [
            (
                info.collection,
                info.snapshot,
                info.files,
                info.chunks,
                info.embedder,
                _age_s(info),
                lags[info.collection],
            )
            for info in found
        ],
    )


@app.command()
def verify(*, store: Store = None, as_json: AsJson = False) -> None:
    """Compare every file of the snapshots with its checksum."""
    from contracts.errors import FatalError
    from ops.output import print_json, print_line
    from ops.stores import existing_store
    from vectors.snapshot import verify as verify_collection

    path, names = existing_store(store)
    found = {name: verify_collection(path, name) for name in names}
    if as_json:
        print_json(found)
    else:
        for name, problems in found.items():
            print_line(f"{name}: {'; '.join(problems) or 'ok'}")
    if damaged := [name for name, problems in found.items() if problems]:
        raise FatalError(f"damaged: {', '.join(damaged)}; run cortex index build")


def _age_s(info: "SnapshotInfo") -> float:
    from datetime import UTC, datetime

    return (datetime.now(UTC) - datetime.fromisoformat(info.created_at)).total_seconds()


def _lags(found: "list[SnapshotInfo]") -> dict[str, int | None]:
    """Return how many log entries each snapshot is behind; None without Redis or a log of its own.

    The embedded server is asked only if it is up: starting one would say nothing new.
    """
    from contracts.errors import CortexError
    from ops.session import open_session, read_settings
    from vectors.log import bounds

    lags: dict[str, int | None] = dict.fromkeys(info.collection for info in found)
    settings = read_settings()
    if settings.redis_url is None and not Path(settings.data_dir, "redis.sock").exists():
        return lags
    try:
        with open_session(settings) as (client, keys, _):
            for info in found:
                ends = bounds(client, keys.vectors(info.collection))
                if ends and ends.last.log_id == info.position.log_id:
                    lags[info.collection] = ends.last.seq - info.position.seq
    except CortexError:  # the store is fine without a queue
        return lags
    return lags
