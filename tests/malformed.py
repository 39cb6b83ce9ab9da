"""Tasks no worker may accept, and odd ones it must: one case for every kind of fault.

Every case can be pushed to a real stream (`XADD` takes any bytes, but at least one field).
"""

# ruff: noqa: RUF001 - letters that look like others are what some cases are about

from __future__ import annotations

from dataclasses import dataclass

from contracts import reasons
from tests.malformed_json import (
    METADATA_TOO_LARGE,
    NOT_JSON,
    NOT_OBJECT,
    OUT_OF_RANGE,
    TOO_DEEP,
)
from tests.malformed_text import BAD_IDS, INVISIBLE, NOT_UTF8, TOO_LONG

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class MalformedCase:
    """A task that must become a dead letter with this reason."""

    name: str
    fields: Fields
    reason: str


@dataclass(frozen=True, slots=True)
class ToleratedCase:
    """A task that must be decided, with this description after cleaning."""

    name: str
    fields: Fields
    description: str


ID = (b"task_id", b"t-1")
TEXT = (b"description", b"Fix the authentication bug")

_MISSING: dict[str, Fields] = {
    "no task_id": [TEXT],
    "no description": [ID],
    "neither": [(b"priority", b"high")],
    "only metadata": [(b"metadata", b"{}")],
    "empty field name and value": [(b"", b"")],
    "upper-case names": [(b"TASK_ID", b"t-1"), (b"DESCRIPTION", b"Fix")],
    "capitalised id": [(b"Task_id", b"t-1"), TEXT],
    "camel-case id": [(b"taskId", b"t-1"), TEXT],
    "kebab-case id": [(b"task-id", b"t-1"), TEXT],
    "dotted id": [(b"task.id", b"t-1"), TEXT],
    "id named id": [(b"id", b"t-1"), TEXT],
    "id named uuid": [(b"uuid", b"t-1"), TEXT],
    "space after the name": [(b"task_id ", b"t-1"), TEXT],
    "space before the name": [(b" task_id", b"t-1"), TEXT],
    "NUL after the name": [(b"task_id\0", b"t-1"), TEXT],
    "line end after the name": [ID, (b"description\n", b"Fix")],
    "byte order mark before the name": [(b"\xef\xbb\xbftask_id", b"t-1"), TEXT],
    "quoted name": [(b'"task_id"', b"t-1"), TEXT],
    "colon in the name": [(b"task_id:", b"t-1"), TEXT],
    "full-width name": [("ｔａｓｋ_ｉｄ".encode(), b"t-1"), TEXT],
    "Cyrillic letter in the name": [("tаsk_id".encode(), b"t-1"), TEXT],
    "zero-width space in the name": [("task\u200b_id".encode(), b"t-1"), TEXT],
    "name in UTF-16": [("task_id".encode("utf-16-le"), b"t-1"), TEXT],
    "misspelt description": [ID, (b"desciption", b"Fix")],
    "abbreviated description": [ID, (b"desc", b"Fix")],
    "description named text": [ID, (b"text", b"Fix")],
    "names and values swapped": [(b"t-1", b"task_id"), (b"Fix", b"description")],
    "pairs shifted by one": [(b"", b"task_id"), (b"t-1", b"description"), (b"Fix", b"")],
    "task as one JSON field": [(b"task", b'{"task_id":"t-1","description":"Fix"}')],
    "task as msgpack": [(b"d", b"\x82\xa7task_id\xa3t-1\xabdescription\xa3Fix")],
    "task as a pickle": [(b"data", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.")],
    "task as a form": [(b"body", b"task_id=t-1&description=Fix")],
    "task as a URL path": [(b"path", b"/tasks/t-1?description=Fix")],
    "a Celery message": [(b"headers", b'{"id":"t-1","task":"fix"}'), (b"body", b"W10=")],
    "a CloudEvent": [(b"specversion", b"1.0"), (b"id", b"t-1"), (b"data", b"{}")],
    "a decision": [ID, (b"decision", b'{"task_id":"t-1"}')],
    "an outcome": [ID, (b"master", b"dev"), (b"outcome", b"success")],
}

_EXTRA: dict[str, Fields] = {
    "65 unknown fields": [(b"x%d" % n, b"") for n in range(65)],
    "a large unknown value": [(b"x", b"x" * 65_536)],
    "a large unknown name": [(b"x" * 65_537, b"")],
    "60 middling unknown fields": [(b"x%d" % n, b"x" * 1100) for n in range(60)],
    "a mebibyte attached": [(b"attachment", b"\x00" * 1_048_576)],
}


def _task(name: str, fields: Fields, reason: str) -> MalformedCase:
    return MalformedCase(name, [ID, TEXT, *fields], reason)


CASES: list[MalformedCase] = [
    *(MalformedCase(f"missing: {k}", v, reasons.MISSING_FIELD) for k, v in _MISSING.items()),
    *(
        MalformedCase(f"task_id: {k}", [(b"task_id", v), TEXT], reasons.INVALID_TASK_ID)
        for k, v in BAD_IDS.items()
    ),
    *(
        MalformedCase(
            f"description: nothing but {k}",
            [ID, (b"description", v.encode())],
            reasons.DESCRIPTION_EMPTY,
        )
        for k, v in INVISIBLE.items()
    ),
    *(
        MalformedCase(f"description: {k}", [ID, (b"description", v)], reasons.DESCRIPTION_TOO_LONG)
        for k, v in TOO_LONG.items()
    ),
    *(
        _task(f"metadata: {k}", [(b"metadata", v)], reason)
        for reason, kinds in (
            (reasons.METADATA_INVALID_JSON, NOT_JSON),
            (reasons.METADATA_NOT_OBJECT, {f"{k} for an object": v for k, v in NOT_OBJECT.items()}),
            (reasons.NUMBER_OUT_OF_RANGE, {f"number {k}": v for k, v in OUT_OF_RANGE.items()}),
            (reasons.METADATA_TOO_DEEP, {f"deep, {k}": v for k, v in TOO_DEEP.items()}),
            (
                reasons.METADATA_TOO_LARGE,
                {f"large, {k}": v for k, v in METADATA_TOO_LARGE.items()},
            ),
        )
        for k, v in kinds.items()
    ),
    *(_task(f"extra: {k}", v, reasons.ENTRY_TOO_LARGE) for k, v in _EXTRA.items()),
    *(
        MalformedCase(f"not UTF-8 in {where}: {k}", fields, reasons.INVALID_UTF8)
        for k, v in NOT_UTF8.items()
        for where, fields in (
            ("task_id", [(b"task_id", v), TEXT]),
            ("description", [ID, (b"description", v)]),
            ("metadata", [ID, TEXT, (b"metadata", b'{"a":"' + v + b'"}')]),
            ("an unknown value", [ID, TEXT, (b"x", v)]),
            ("an unknown name", [ID, TEXT, (v, b"x")]),
        )
    ),
]

# What was written, and what is left of it.
_CLEANED: dict[str, tuple[bytes, str]] = {
    name: (written.encode(), left)
    for name, (written, left) in {
        "spaces around": ("  Fix  ", "Fix"),
        "line ends around": ("\r\nFix\r\n", "Fix"),
        "Windows line ends": ("Fix\r\nthis", "Fix\nthis"),
        "old Macintosh line ends": ("Fix\rthis", "Fix\nthis"),
        "next line": ("Fix\x85this", "Fix\nthis"),
        "line separator": ("Fix\u2028this", "Fix\nthis"),
        "paragraph separator": ("Fix\u2029this", "Fix\nthis"),
        "form feed": ("Fix\fthis", "Fix\nthis"),
        "tabs kept": ("Fix:\n\tthis", "Fix:\n\tthis"),
        "NUL between": ("Fi\0x", "Fix"),
        "terminal colours": ("\x1b[31mFix\x1b[0m", "[31mFix[0m"),
        "bell": ("Fix\a", "Fix"),
        "backspace": ("Fix\b\b", "Fix"),
        "DEL": ("Fi\x7fx", "Fix"),
        "C1 control": ("Fi\x9bx", "Fix"),
        "UTF-16 without mark": ("F\0i\0x\0", "Fix"),
        "no-break space": ("Fix\xa0this", "Fix this"),
        "narrow no-break space": ("Fix\u202fthis", "Fix this"),
        "ideographic space": ("修正\u3000する", "修正 する"),
        "soft hyphen": ("authen\xadtication", "authentication"),
        "zero-width space": ("pass\u200bword", "password"),
        "word joiner": ("pass\u2060word", "password"),
        "byte order mark in front": ("\ufeffFix", "Fix"),
        "right-to-left override": ("Fix \u202exif\u202c", "Fix xif"),
        "bidi isolates": ("\u2067Fix\u2069", "Fix"),
        "directional mark": ("Fix\u200e", "Fix"),
        "text hidden in tags": ("Fix\U000e0069\U000e0067", "Fix"),
        "bytes hidden in variation selectors": ("Fix\ufe01\U000e0101", "Fix"),
        "joined emoji": ("👩\u200d💻 fix", "👩💻 fix"),
        "noncharacter": ("Fi\uffffx", "Fix"),
        "decomposed accent": ("Cafe\u0301", "Café"),
        "ohm sign": ("10 \u2126", "10 Ω"),
        "right-to-left text": ("תקן את הבאג", "תקן את הבאג"),
        "emoji": ("Fix 🚀", "Fix 🚀"),
        "private use": ("Fix \ue000", "Fix \ue000"),
        "markup": ("<b>Fix</b>", "<b>Fix</b>"),
        "JSON": ('{"a": NaN}', '{"a": NaN}'),
        "shell": ("$(rm -rf /) `x`; 'y'", "$(rm -rf /) `x`; 'y'"),
        "log forging": ("Fix\r\nERROR all is lost", "Fix\nERROR all is lost"),
        "template": ("{{7*7}} %s {0}", "{{7*7}} %s {0}"),
        "one letter": ("x", "x"),
        "as long as may be": ("x" * 8192, "x" * 8192),
        "as long as may be in emoji": ("🚀" * 8192, "🚀" * 8192),
        "as long as may be after trimming": (" " * 100 + "x" * 8192, "x" * 8192),
    }.items()
}

_TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

# Fields beside a good id and description that must not cost the task.
_BESIDE: dict[str, Fields] = {
    "an unknown field": [(b"priority", b"high")],
    "an empty unknown field": [(b"", b"")],
    "a field named extra": [(b"extra", b"x")],
    "a field named like a decision's": [(b"selected_master", b"x")],
    "64 unknown fields": [(b"x%d" % n, b"") for n in range(64)],
    "an unknown field as large as may be": [(b"x", b"x" * 65_535)],
    "empty metadata": [(b"metadata", b"")],
    "metadata without members": [(b"metadata", b"{}")],
    "metadata over several lines": [(b"metadata", b'{\r\n  "a": 1\n}\n')],
    "metadata with a name twice": [(b"metadata", b'{"a":1,"a":2}')],
    "metadata 16 levels deep": [(b"metadata", b'{"a":' + b"[" * 15 + b"]" * 15 + b"}")],
    "metadata with brackets in strings": [(b"metadata", b'{"a":"' + b"[{" * 40 + b'"}')],
    "metadata as large as may be": [(b"metadata", b'{"a":"' + b"x" * 16_376 + b'"}')],
    "metadata with the largest double": [(b"metadata", b'{"a":1.7976931348623157e308}')],
    "metadata with a vanishing number": [(b"metadata", b'{"a":1e-999}')],
    "metadata with an integer beyond 64 bits": [(b"metadata", b'{"a":123456789012345678901234}')],
    "metadata with minus zero": [(b"metadata", b'{"a":-0}')],
    "metadata with a surrogate pair": [(b"metadata", b'{"a":"\\ud83d\\ude80"}')],
    "metadata with an escaped NUL": [(b"metadata", b'{"a":"\\u0000"}')],
    "metadata with an empty name": [(b"metadata", b'{"":1}')],
    "a good trace": [(b"traceparent", _TRACE), (b"tracestate", b"vendor=1")],
    "an empty traceparent": [(b"traceparent", b"")],
    "a traceparent that is none": [(b"traceparent", b"garbage")],
    "a traceparent in upper case": [(b"traceparent", _TRACE.upper())],
    "a traceparent of version ff": [(b"traceparent", b"ff" + _TRACE[2:])],
    "a traceparent of zeros": [(b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")],
    "a traceparent too long": [(b"traceparent", _TRACE + b"-x")],
    "a traceparent that is no UTF-8": [(b"traceparent", b"\xff\xfe")],
    "a tracestate without traceparent": [(b"tracestate", b"vendor=1")],
    "a tracestate that is no UTF-8": [(b"traceparent", _TRACE), (b"tracestate", b"\xff")],
    "a tracestate too long": [(b"traceparent", _TRACE), (b"tracestate", b"a=" + b"x" * 511)],
}

TOLERATED: list[ToleratedCase] = [
    *(
        ToleratedCase(f"description: {name}", [ID, (b"description", written)], left)
        for name, (written, left) in _CLEANED.items()
    ),
    *(
        ToleratedCase(f"beside: {name}", [ID, TEXT, *fields], TEXT[1].decode())
        for name, fields in _BESIDE.items()
    ),
    *(
        ToleratedCase(f"task_id: {name}", [(b"task_id", task_id), TEXT], TEXT[1].decode())
        for name, task_id in {
            "one character": b"!",
            "as long as may be": b"~" * 128,
            "every visible character": bytes(range(0x21, 0x7F)),
            "like a key": b"done:{3}:*",
            "like an option": b"--help",
            "like a path": b"../../etc/passwd",
            "like JSON": b'{"a":1}',
        }.items()
    ),
]
