"""`cortex master`: a reference master that hands each decision to a command."""

import os
import shlex
import subprocess
import time
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.messages import Decision
    from streams.master import Master

_LEASE_MS = 60_000
_RENEW_S = _LEASE_MS / 3_000  # twice more before the lease lapses


def master(
    name: Annotated[str, typer.Argument(help="For example development-master.")],
    *,
    command: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="CMD",
            help="Gets the decision as JSON on stdin. Exit code 0: success; 75: leave it for "
            "another try; any other: failed.",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after this many.")] = None,
    consumer: Annotated[
        str | None, typer.Option(help="Name of this member. Default: host and process.")
    ] = None,
) -> None:
    """Take decisions, run CMD for each, report how it went.

    Without --exec, decisions are printed one a line and taken off the queue without an outcome.
    """
    from contracts.encode import encode_decision
    from ops.output import print_line
    from ops.session import open_session
    from ops.stopping import exit_on_term
    from streams.connect import FOREVER
    from streams.master import Master

    exit_on_term()
    words = None if command is None else _words(command)
    with open_session(patience=FOREVER) as (client, _, parts):
        member = Master(client, name, keys=parts, consumer=consumer, lease_ms=_LEASE_MS)
        try:
            for decision in islice(member.decisions(), count):
                if words is None:
                    print_line(encode_decision(decision).decode())
                    member.acknowledge(decision)
                else:
                    _work(member, decision, words)
        finally:
            member.leave()


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise typer.BadParameter(f"--exec: {error}") from error
    if not words:
        raise typer.BadParameter("--exec: no command")
    return words


def _work(member: "Master", decision: "Decision", words: "Sequence[str]") -> None:
    began = time.monotonic()
    try:
        code = _run(member, decision, words)
    except BaseException:
        member.give_back(decision)
        raise
    duration_ms = round((time.monotonic() - began) * 1_000, 3)
    if code == os.EX_TEMPFAIL:
        return  # still pending: it is offered again when its lease lapses
    if code == 0:
        member.report(decision, "success", duration_ms=duration_ms)
    else:
        detail = f"{words[0]} exited with {code}"
        member.report(decision, "failed", duration_ms=duration_ms, detail=detail)


def _run(member: "Master", decision: "Decision", words: "Sequence[str]") -> int:
    """Run the command with the decision on stdin; keep the lease while it works."""
    from contracts.encode import encode_decision
    from contracts.errors import FatalError

    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE)  # noqa: S603 - the operator's own
    except OSError as error:
        raise FatalError(f"cannot run {words[0]}: {error.strerror}") from error
    with process:
        line: bytes | None = encode_decision(decision) + b"\n"
        try:
            while True:
                try:
                    process.communicate(line, timeout=_RENEW_S)
                except subprocess.TimeoutExpired:
                    line = None
                    member.renew(decision)
                else:
                    return process.returncode
        except BaseException:
            process.terminate()
            raise
