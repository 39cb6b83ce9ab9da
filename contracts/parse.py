"""Reads every message of the wire contract; whatever the bytes, the answer is a value or poison.

Refused is what cannot be acted on. Tolerated is what can: an invalid trace context is dropped, as
the W3C asks; unknown fields are kept; an empty optional field counts as absent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import UNSET, Raw, Struct

from contracts import fields as read
from contracts import reasons
from contracts.clean import clean
from contracts.errors import PoisonError
from contracts.messages import (
    DeadLetter,
    Decision,
    FileChange,
    FileOp,
    Outcome,
    OutcomeKind,
    Task,
)
from contracts.strict_json import Codes, load, load_object

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TASK_ID: Final = 128
MAX_DESCRIPTION: Final = 8192
MAX_RAW_DESCRIPTION: Final = 65_536  # bytes, before cleaning: bounds the work of cleaning
MAX_METADATA: Final = 16_384  # bytes
MAX_METADATA_DEPTH: Final = 16
MAX_DECISION: Final = 4 * 1024 * 1024  # bytes
MAX_DECISION_DEPTH: Final = 64
MAX_FILES: Final = 10_000

# W3C Trace Context, sections 3.2.2 and 4.3: version ff and ids of zeros are invalid; versions
# after 00 may append further parts.
_IDS: Final = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT: Final = re.compile(rb"00%b|(?!00|ff)[0-9a-f]{2}%b(?:-[!-~]{0,200})?" % (_IDS, _IDS))
_TRACESTATE: Final = re.compile(rb"[\t -~]{1,512}")  # section 3.3.1.5: 512 characters
_ENTRY_ID: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")

_TASK: Final = frozenset((b"task_id", b"description", b"metadata", b"traceparent", b"tracestate"))
_METADATA: Final = Codes(
    malformed=reasons.METADATA_INVALID_JSON,
    not_object=reasons.METADATA_NOT_OBJECT,
    too_deep=reasons.METADATA_TOO_DEEP,
)
_JSON: Final = Codes()
_LINE_ENDS_TO_SPACES: Final = bytes.maketrans(b"\r\n", b"  ")


def _known(message: type[Struct]) -> frozenset[str]:
    return frozenset(message.__struct_fields__) - {"extra"}


def _wire_names(message: type[Struct]) -> frozenset[bytes]:
    return frozenset(name.encode() for name in _known(message))


_OUTCOME: Final = _wire_names(Outcome)
_FILE_CHANGE: Final = _wire_names(FileChange)
_DEAD_LETTER: Final = _wire_names(DeadLetter)
_DECISION: Final = _known(Decision)

_OUTCOMES: Final = {b"success": "success", b"failed": "failed", b"rerouted": "rerouted"}
_OPS: Final = {b"put": "put", b"delete": "delete", b"move": "move"}


def parse_task(fields: Mapping[bytes, bytes]) -> Task:
    """Read an entry of `tasks`.

    Raises:
        PoisonError: it is not a task.
    """
    get = fields.get
    raw_id, raw_description = get(b"task_id"), get(b"description")
    if raw_id is None or raw_description is None:
        missing = "task_id" if raw_id is None else "description"
        raise PoisonError(reasons.MISSING_FIELD, f"{missing} is missing")
    task_id, description = parse_task_id(raw_id), _description(raw_description)
    if len(fields) == 2:  # noqa: PLR2004 - just the two: nothing further to look for
        return Task(task_id=task_id, description=description)
    raw_metadata = get(b"metadata")
    traceparent = _trace(get(b"traceparent"), _TRACEPARENT)
    return Task(
        task_id=task_id,
        description=description,
        metadata=_metadata(raw_metadata) if raw_metadata else None,
        traceparent=traceparent,
        tracestate=_trace(get(b"tracestate"), _TRACESTATE) if traceparent else None,
        extra=read.unknown(fields, _TASK),
    )


def parse_outcome(fields: Mapping[bytes, bytes]) -> Outcome:
    """Read an entry of `outcomes`.

    Raises:
        PoisonError: it is not an outcome.
    """
    correct, score = fields.get(b"correct_master"), fields.get(b"score")
    duration, detail = fields.get(b"duration_ms"), fields.get(b"detail")
    files = fields.get(b"files")
    return Outcome(
        task_id=parse_task_id(read.required(fields, "task_id")),
        master=read.name(read.required(fields, "master"), "master"),
        outcome=cast(
            "OutcomeKind", read.choice(read.required(fields, "outcome"), "outcome", _OUTCOMES)
        ),
        correct_master=read.name(correct, "correct_master") if correct else None,
        score=read.number(score, "score", high=1) if score else None,
        duration_ms=read.number(duration, "duration_ms") if duration else None,
        detail=read.text(detail, "detail") if detail else None,
        files=_files(files) if files else [],
        extra=read.unknown(fields, _OUTCOME),
    )


def parse_file_change(fields: Mapping[bytes, bytes]) -> FileChange:
    """Read an entry of `files`.

    Raises:
        PoisonError: it is not a file change, or a move that does not say from where.
    """
    op = cast("FileOp", read.choice(read.required(fields, "op"), "op", _OPS))
    old_path = read.required(fields, "old_path") if op == "move" else fields.get(b"old_path")
    collection, root = fields.get(b"collection"), fields.get(b"root")
    return FileChange(
        op=op,
        path=_path(read.required(fields, "path"), "path"),
        old_path=_path(old_path, "old_path") if old_path else None,
        collection=read.name(collection, "collection") if collection else "code",
        root=read.text(root, "root") if root else None,
        extra=read.unknown(fields, _FILE_CHANGE),
    )


def parse_dead_letter(fields: Mapping[bytes, bytes]) -> DeadLetter:
    """Read an entry of `dead`. The payload keeps the readable form it was written in.

    Raises:
        PoisonError: it is not a dead letter.
    """
    entry_id = read.required(fields, "entry_id")
    if not _ENTRY_ID.fullmatch(entry_id):
        detail = f"entry_id is not a stream id: {read.shown(entry_id)}"
        raise PoisonError(reasons.INVALID_VALUE, detail)
    payload = load_object(read.required(fields, "payload"), "payload", 1, _JSON)
    if not all(type(value) is str for value in payload.values()):
        raise PoisonError(reasons.INVALID_SHAPE, "payload is not an object of strings")
    return DeadLetter(
        source=read.text(read.required(fields, "source"), "source"),
        entry_id=entry_id.decode(),
        reason=read.name(read.required(fields, "reason"), "reason"),
        detail=read.text(fields.get(b"detail", b""), "detail"),
        payload=payload,
        attempts=read.count(read.required(fields, "attempts"), "attempts"),
        at=read.text(read.required(fields, "at"), "at"),
        extra=read.unknown(fields, _DEAD_LETTER),
    )


def parse_decision(raw: bytes) -> Decision:
    """Read the `decision` field of an entry of `master:<name>` or `decisions`.

    Args:
        raw: the JSON document, at most 4 MiB.

    Raises:
        PoisonError: it is not a decision.
    """
    if len(raw) > MAX_DECISION:
        raise PoisonError(reasons.ENTRY_TOO_LARGE, f"decision is {len(raw)} bytes long")
    document = load_object(raw, "decision", MAX_DECISION_DEPTH, _JSON)
    known = {name: value for name, value in document.items() if name in _DECISION}
    unknown: dict[str, Any] = {name: document[name] for name in document.keys() - _DECISION}
    try:
        decision = msgspec.convert(known | {"metadata": None}, Decision)
    except msgspec.ValidationError as error:
        raise PoisonError(reasons.INVALID_SHAPE, f"decision: {error}") from None
    parse_task_id(decision.task_id.encode())
    return msgspec.structs.replace(
        decision,
        metadata=_metadata_of(raw) if document.get("metadata") is not None else None,
        extra=unknown or UNSET,
    )


def parse_task_id(raw: bytes) -> str:
    """Read a task id alone.

    Raises:
        PoisonError: it is not 1-128 visible ASCII characters.
    """
    task_id = read.utf8(raw, "task_id")
    # Printable ASCII without the space is exactly 0x21-0x7E.
    if (
        0 < len(raw) <= MAX_TASK_ID
        and task_id.isascii()
        and task_id.isprintable()
        and " " not in task_id
    ):
        return task_id
    detail = f"task_id is not 1-128 visible ASCII characters: {read.shown(raw)}"
    raise PoisonError(reasons.INVALID_TASK_ID, detail)


def _description(raw: bytes) -> str:
    if len(raw) > MAX_RAW_DESCRIPTION:
        detail = f"description is {len(raw)} bytes before cleaning"
        raise PoisonError(reasons.DESCRIPTION_TOO_LONG, detail)
    description = clean(read.utf8(raw, "description"))
    if not description:
        raise PoisonError(reasons.DESCRIPTION_EMPTY, "nothing visible is left of description")
    if len(description) > MAX_DESCRIPTION:
        detail = f"description is {len(description)} characters after cleaning"
        raise PoisonError(reasons.DESCRIPTION_TOO_LONG, detail)
    return description


def _metadata(raw: bytes) -> Raw:
    """Check metadata; its bytes stay as they are, but on one line (JSON strings hold no breaks)."""
    if len(raw) > MAX_METADATA:
        raise PoisonError(reasons.METADATA_TOO_LARGE, f"metadata is {len(raw)} bytes long")
    load_object(raw, "metadata", MAX_METADATA_DEPTH, _METADATA)
    return Raw(raw.translate(_LINE_ENDS_TO_SPACES).strip())


class _MetadataOnly(Struct):
    metadata: Raw = Raw()


_METADATA_DECODER: Final = msgspec.json.Decoder(_MetadataOnly)


def _metadata_of(decision: bytes) -> Raw:
    """Cut the metadata out of a document that is known to be JSON, byte for byte."""
    return _metadata(bytes(_METADATA_DECODER.decode(decision).metadata))


def _trace(raw: bytes | None, pattern: re.Pattern[bytes]) -> str | None:
    return raw.decode("ascii") if raw and pattern.fullmatch(raw) else None


def _path(raw: bytes, what: str) -> str:
    return read.path(read.utf8(raw, what), what)


def _files(raw: bytes) -> list[str]:
    files = load(raw, "files", 1, _JSON)
    if type(files) is not list or not all(type(each) is str for each in files):
        raise PoisonError(reasons.INVALID_SHAPE, "files is not a JSON array of strings")
    if len(files) > MAX_FILES:
        raise PoisonError(reasons.ENTRY_TOO_LARGE, f"files names {len(files)} paths")
    return [read.path(each, "files") for each in files]
