"""`cortex audit`: whether the archive is what was written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from rollout.chain import Head, Verified

app = typer.Typer(no_args_is_help=True, help="Check the archive of decisions and outcomes.")


@app.callback()
def _group() -> None:
    """Make a group of the one command there is."""


@app.command()
def verify(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="Default: $METRICS_PATH.")
    ] = None,
    *,
    pruned: Annotated[
        bool, typer.Option("--pruned", help="The oldest files were given up: begin with the rest.")
    ] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Ask no server: lines cut from the end are not noticed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every line of the metrics file and of the file of late outcomes; 1 if one is wrong."""
    import os

    from contracts.errors import FatalError
    from contracts.settings import load
    from ops.output import print_json, print_line
    from rollout.archive_settings import Settings, late_path

    metrics = path or load(Settings, os.environ).metrics
    heads = None if offline else _known()
    reports = [_check(file, heads, pruned=pruned) for file in (metrics, late_path(metrics))]
    if not any(report["files"] or report["fault"] for report in reports):
        raise FatalError(f"there is no {metrics}; cortex archiver writes it")
    ok = all(report["ok"] for report in reports)
    if as_json:
        print_json({"ok": ok, "compared_with_server": not offline, "chains": reports})
    else:
        for report in reports:
            print_line(f"{report['path']}: {report['lines']:,} lines, {_verdict(report)}")
    raise typer.Exit(0 if ok else 1)


def _known() -> "dict[str, Head]":
    from ops.session import open_session
    from rollout.archive import read_heads

    with open_session() as (client, keys, _):
        return read_heads(client, keys)


def _check(file: Path, heads: "dict[str, Head] | None", *, pruned: bool) -> dict[str, Any]:
    """Check one chain; a chain that nobody ever wrote has no lines and is right."""
    from contracts.errors import FatalError
    from rollout.archive_file import older_files

    end = None if heads is None else heads.get(file.name)
    try:
        files = [*older_files(file), *([file] if file.exists() else [])]
        found = _verify(file, end, pruned=pruned)
    except OSError as error:
        raise FatalError(f"cannot read {error.filename}: {error.strerror}") from error
    fault = found.fault and {
        **found.fault._asdict(),
        "file": str(_where(files, found.fault.line) or file),
    }
    return {
        "path": str(file),
        "files": len(files),
        "lines": found.head.number,
        "hash": found.head.hash,
        "ok": fault is None,
        "fault": fault,
    }


def _verify(file: Path, end: "Head | None", *, pruned: bool) -> "Verified":
    from itertools import chain

    from rollout.archive_file import read_lines
    from rollout.chain import opening, verify

    lines = read_lines(file)
    first = next(lines, None)
    if first is None:
        return verify((), end=end)
    begin = opening(first) if pruned else None
    return verify(chain((first,), lines), begin, end)


def _where(files: "list[Path]", number: int) -> Path | None:
    """The file in which a line stands, or should."""
    from rollout.chain import opening

    found = None
    for file in files:
        with file.open("rb") as lines:
            first = next(lines, None)
        if first is not None and (found is None or opening(first).number < number):
            found = file
    return found


def _verdict(report: dict[str, Any]) -> str:
    fault = report["fault"]
    if fault is None:
        return "as they were written"
    return f"{fault['kind'].upper()} ({fault['file']}): {fault['detail']}"
