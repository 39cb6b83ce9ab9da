"""Tasks from the command line or a file, each checked before anything is done with it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec import Raw, Struct

from contracts.parse import parse_task
from ops.lines import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contracts.messages import Task

Priority = Literal["high", "normal", "low"]


class TaskLine(Struct, forbid_unknown_fields=True, frozen=True):
    """One line of a task file."""

    description: str
    task_id: str | None = None
    metadata: Raw = Raw(b"null")
    priority: Priority | None = None


class Given(NamedTuple):
    """A valid task, and the priority its line asks for, if it does."""

    task: Task
    priority: Priority | None


def single_task(
    description: str, *, task_id: str | None = None, metadata: str | None = None
) -> Task:
    """Make a task of text; a new UUID is its id unless one is given.

    Raises:
        PoisonError: it is not a valid task.
    """
    fields = {
        b"task_id": _bytes(str(uuid.uuid4()) if task_id is None else task_id),
        b"description": _bytes(description),
    }
    if metadata is not None:
        fields[b"metadata"] = _bytes(metadata)
    return parse_task(fields)


def read_tasks(file: str) -> Iterator[Given]:
    """Read a file of JSON lines (`-` is stdin).

    Raises:
        FatalError: the file cannot be read, or a line is not a valid task; says which.
    """
    return read_lines(file, TaskLine, _given)


def _given(line: TaskLine) -> Given:
    metadata = bytes(line.metadata).decode()
    task = single_task(
        line.description,
        task_id=line.task_id,
        metadata=None if metadata == "null" else metadata,
    )
    return Given(task, line.priority)


def _bytes(typed: str) -> bytes:
    """Bytes of an argument; those that are not UTF-8 are as they were typed (PEP 383)."""
    return typed.encode(errors="surrogateescape")
