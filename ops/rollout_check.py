"""`cortex rollout check`: the seven criteria of success, each measured."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.monitor import parse_window
from ops.options import AsJson

if TYPE_CHECKING:
    from pathlib import Path

    from ops.rehearsal import Rehearsal
    from ops.rollout_criteria import Archived, Criterion
    from ops.session import Session
    from worker.settings import Settings

_LIMIT = 1_000_000
_SLACK_S = 10.0  # a line is written so soon after its wait, also where the archiver starts just now


def check(
    *,
    window: Annotated[
        float, typer.Option(parser=parse_window, metavar="TIME", help="For example 30m, 1h, 7d.")
    ] = "1h",  # type: ignore[assignment] # parsed like what users type
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse/--no-rehearse",
            help="Roll back a rollout of its own, under a prefix of its own, with a worker of its"
            " own; nothing that serves is touched.",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Measure the seven criteria of success over the last while; 0 only if all hold."""
    from ops.output import print_json, print_table
    from ops.session import open_session, read_settings

    settings = read_settings()
    with open_session(settings) as session:
        criteria = _criteria(session, settings, window)
        criteria.append(_rollback(session, settings, wanted=rehearse))
    ok = all(each.verdict == "pass" for each in criteria)
    if as_json:
        print_json({"ok": ok, "window_s": window, "criteria": criteria})
    else:
        print_table(
            ("criterion", "verdict", "what was measured"),
            [(each.name, each.verdict, each.sentence) for each in criteria],
        )
    raise typer.Exit(0 if ok else 1)


def _criteria(session: "Session", settings: "Settings", window: float) -> "list[Criterion]":
    from ops import rollout_criteria as judge
    from ops.monitor_reading import WindowReader
    from ops.summary import summarise

    client, _, parts = session
    reader = WindowReader(client, parts, settings.fresh_config, window, _LIMIT)
    summary = summarise(reader.look())
    return [
        judge.split(summary),
        judge.accuracy(summary),
        judge.context(summary),
        judge.latency(summary),
        judge.errors(summary, _undecided(session, summary.since_ms)),
        judge.metrics(_archived(session)),
    ]


def _undecided(session: "Session", since_ms: int) -> int:
    """Count the tasks that are dead letters through no fault of their own."""
    from contracts.reasons import TOO_MANY_DELIVERIES, UNHANDLED_ERROR
    from streams import ranges

    faults = {TOO_MANY_DELIVERIES.encode(), UNHANDLED_ERROR.encode()}
    return sum(
        fields.get(b"reason") in faults
        and fields.get(b"source", b"").decode(errors="replace") in keys.task_streams
        for keys in session.parts
        for _id, fields in ranges.forward(session.client, keys.dead, f"{since_ms}-0")
    )


def _archived(session: "Session") -> "Archived":
    import os

    from contracts.settings import load
    from ops.rollout_criteria import Archived
    from rollout.archive import read_heads
    from rollout.archive_settings import Settings as ArchiveSettings

    client, keys, parts = session
    settings = load(ArchiveSettings, os.environ)
    head = read_heads(client, keys).get(settings.metrics.name)
    seconds, micros = client.time()
    now_ms = 1_000 * seconds + micros // 1_000
    unwritten = [_first_unwritten(session, part.decisions) for part in parts]
    oldest = min((at_ms for at_ms in unwritten if at_ms is not None), default=now_ms)
    return Archived(
        lines=head.number if head else 0,
        behind_s=max(0, now_ms - oldest) / 1_000,
        allowed_s=settings.wait_s + _SLACK_S,
        fault=_file_fault(settings.metrics, head.number if head else 0),
    )


def _first_unwritten(session: "Session", stream: str) -> int | None:
    """When the oldest decision without a line was made; None if there is none."""
    from streams import ranges
    from streams.keys import ARCHIVE

    if not session.client.exists(stream):
        return None
    groups = {each["name"]: each for each in session.client.xinfo_groups(stream)}
    group = groups.get(ARCHIVE.encode())
    start = "-" if group is None else f"({group['last-delivered-id'].decode()}"
    for entry_id, _fields in ranges.forward(session.client, stream, start):
        return int(entry_id.partition(b"-")[0])
    return None


def _file_fault(path: "Path", known: int) -> str | None:
    """What is wrong with the end of the file, if it is on this machine; the rest is `audit`'s."""
    from contracts.errors import FatalError
    from rollout.archive_file import read_backward
    from rollout.chain import read_link

    if not path.parent.is_dir():
        return None
    try:
        last = next(read_backward(path), b"")
    except OSError as error:
        raise FatalError(f"cannot read {path}: {error.strerror}") from error
    link = read_link(last)
    if link is None or not link.sound or link.number < known:
        return f"{path} does not end with line {known:,}; see cortex audit verify"
    return None


def _rollback(session: "Session", settings: "Settings", *, wanted: bool) -> "Criterion":
    from contracts.errors import FatalError
    from ops import rollout_criteria as judge
    from ops.output import remark
    from ops.rehearsal import rehearse
    from ops.rollout_view import read_plan

    if not wanted:
        return judge.rollback("no rehearsal was asked for")
    plan = read_plan()
    remark("rehearsing a rollback, with a worker and a prefix of its own")
    rehearsal: Rehearsal | str
    try:
        rehearsal = rehearse(session.client, settings, plan)
    except FatalError as error:
        rehearsal = str(error)
    return judge.rollback(rehearsal)
