"""Reads tasks from the command line or a file, each checked before anything is done with it."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec
from msgspec import Struct

from contracts.errors import FatalError, PoisonError
from contracts.parse import parse_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contracts.messages import Task

Priority = Literal["high", "normal", "low"]


class Line(Struct, forbid_unknown_fields=True, frozen=True):
    """One line of a task file."""

    description: str
    task_id: str | None = None
    metadata: msgspec.Raw | None = None
    priority: Priority | None = None


class Given(NamedTuple):
    """A valid task, and the priority its line asks for, if it does."""

    task: Task
    priority: Priority | None


def single_task(
    description: str, *, task_id: str | None = None, metadata: str | None = None
) -> Task:
    """Make a task of what was typed; a new UUID is its id unless one is given.

    Raises:
        PoisonError: it is not a valid task.
    """
    fields = {
        b"task_id": (str(uuid.uuid4()) if task_id is None else task_id).encode(),
        b"description": description.encode(errors="surrogateescape"),
    }
    if metadata is not None:
        fields[b"metadata"] = metadata.encode(errors="surrogateescape")
    return parse_task(fields)


def read_tasks(file: str) -> Iterator[Given]:
    """Read a file of JSON lines (`-` is stdin); blank lines are skipped.

    Raises:
        FatalError: the file cannot be read, or a line is not a valid task; says which.
    """
    decoder = msgspec.json.Decoder(Line)
    for number, raw in enumerate(_lines(file), start=1):
        if not raw.strip():
            continue
        try:
            line = decoder.decode(raw)
            metadata = None if line.metadata is None else bytes(line.metadata).decode()
            task = single_task(line.description, task_id=line.task_id, metadata=metadata)
        except (msgspec.DecodeError, UnicodeDecodeError, PoisonError) as error:
            raise FatalError(f"{_name(file)}, line {number}: {error}") from error
        yield Given(task, line.priority)


def _lines(file: str) -> Iterable[bytes]:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).read_bytes().split(b"\n")
    except OSError as error:
        raise FatalError(f"cannot read {file}: {error.strerror}") from error


def _name(file: str) -> str:
    return "standard input" if file == "-" else file
