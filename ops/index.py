"""`cortex index`: builds a store, says how it is, and brings it back in step."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson, Store

if TYPE_CHECKING:
    from vectors.snapshot import SnapshotInfo

app = typer.Typer(no_args_is_help=True, help="Build and check a store of indexed files.")

Source = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Directory to index.")]


@app.command()
def status(*, store: Store = None, as_json: AsJson = False) -> None:
    """Show each collection's snapshot, its age, and how far the log is ahead of it."""
    from ops.output import print_json, print_table
    from ops.stores import existing_store
    from vectors.snapshot import read_manifest

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

    No server is started to answer this: where `REDIS_URL` is unset there is nothing to ask.
    """
    from contracts.errors import CortexError
    from ops.session import open_session, read_settings
    from vectors.log import bounds

    lags: dict[str, int | None] = dict.fromkeys(info.collection for info in found)
    settings = read_settings()
    try:
        with open_session(settings) as (client, keys):
            for info in found:
                ends = bounds(client, keys.vectors(info.collection))
                if ends and ends.last.log_id == info.position.log_id:
                    lags[info.collection] = ends.last.seq - info.position.seq
    except CortexError:  # the store is fine without a queue
        return lags
    return lags
