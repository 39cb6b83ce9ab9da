"""Writes the AsyncAPI 3.0 document of the wire contract from the message types themselves.

`python -m contracts.asyncapi > docs/asyncapi.json` brings the document up to date. Structure after
https://www.asyncapi.com/docs/reference/specification/v3.0.0; the Redis bindings it refers to define
no properties, so what Redis needs to know stands in `x-redis`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from contracts import reasons
from contracts.messages import (
    DeadLetter,
    Decision,
    FileChange,
    Outcome,
    RolloutConfig,
    Task,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

CONTRACT_VERSION: Final = "1.0.0"

_ABOUT: Final = """\
Any client in any language takes part with plain Redis commands. An entry's fields are flat UTF-8 \
strings: a field whose schema says `contentMediaType: application/json` holds JSON text (so a \
number is its decimal digits), any other is the text itself. An empty optional field counts as \
absent; unknown fields are kept. Keys may carry a prefix (`CORTEX_PREFIX`) and, partitioned, a \
hash tag: `tasks` becomes `tasks:{3}`, `master:security-master` becomes \
`master:{3}:security-master`. The smallest task: \
`XADD tasks * task_id t-1 description "Fix the authentication bug"`."""

_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", re.MULTILINE)


def document() -> Json:
    """Build the AsyncAPI document as plain JSON values."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Cortex", "version": CONTRACT_VERSION, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "queue": {
                "host": "localhost:6379",
                "protocol": "redis",
                "description": "Redis 7 or later, or Valkey; REDIS_URL names it.",
            }
        },
        "channels": dict(_channels()),
        "operations": dict(_operations()),
        "components": {"messages": _messages(), "schemas": _schemas()},
        "x-redis-state": {
            "control:rollout": {
                "kind": "hash",
                "description": "Live configuration; workers see a change within one second.",
                "fields": {"$ref": "#/components/schemas/RolloutConfig"},
            },
            "audit:head": {
                "kind": "hash",
                "description": "Where the chains of the metrics files end, by the files' names: "
                "number and SHA-256 of the last line.",
            },
            "vectors:{collection}:current": {
                "kind": "string",
                "description": "Up to when, in ms of the server's clock, every announced change "
                "is in the delta log; indexers renew it every second.",
            },
            "done:{task_id}": {
                "kind": "string with expiry",
                "description": "The task was decided; a second submission is a duplicate.",
            },
        },
    }


# Channel: address, message, consumer group, title.
_CHANNELS: Final = {
    "tasks": ("tasks", "Task", "workers", "Tasks of normal priority"),
    "tasksHigh": ("tasks:high", "Task", "workers", "Tasks taken first"),
    "tasksLow": ("tasks:low", "Task", "workers", "Tasks taken last"),
    "master": ("master:{name}", "Decision", "{name}", "One master's queue"),
    "decisions": ("decisions", "DecisionReference", None, "Every decision, for audit"),
    "outcomes": ("outcomes", "Outcome", "learning", "How tasks went"),
    "files": ("files", "FileChange", "indexers", "Hints that files changed"),
    "vectors": ("vectors:{collection}", "FileDelta", None, "Delta log of a collection"),
    "dead": ("dead", "DeadLetter", None, "Entries that could not be handled"),
    "controlLog": ("control:log", "ControlChange", None, "Who changed what, when and why"),
}

_PARAMETERS: Final = {"name": "Name of a master.", "collection": "Name of a collection."}

# Operation of Cortex: action, channel, summary.
_OPERATIONS: Final = {
    "takeTask": ("receive", "tasks", "Workers decide each task exactly once."),
    "takeUrgentTask": ("receive", "tasksHigh", "Workers decide these before others."),
    "takePatientTask": ("receive", "tasksLow", "Workers decide these after others."),
    "publishDecision": ("send", "master", "A worker hands a task to its master."),
    "recordDecision": ("send", "decisions", "The same decision, in the same step, for audit."),
    "learnOutcome": ("receive", "outcomes", "Masters report how a task went."),
    "announceFileChange": ("send", "files", "The watcher, a git hook or CI saw a change."),
    "indexFile": ("receive", "files", "An indexer reads what the file says now."),
    "publishFileDelta": ("send", "vectors", "An indexer committed the new state of a file."),
    "followFileDeltas": ("receive", "vectors", "Every worker follows by plain XREAD."),
    "bury": ("send", "dead", "An entry is kept whole until a person looks at it."),
    "logControlChange": ("send", "controlLog", "Written in one step with control:rollout."),
}


def _channels() -> Iterator[tuple[str, Json]]:
    for channel, (address, message, group, title) in _CHANNELS.items():
        parameters = re.findall(r"\{(\w+)\}", address)
        described = {each: {"description": _PARAMETERS[each]} for each in parameters}
        yield (
            channel,
            {
                "address": address,
                "title": title,
                "messages": {message: {"$ref": f"#/components/messages/{message}"}},
                **({"parameters": described} if described else {}),
                "bindings": {"redis": {}},
                "x-redis": {"kind": "stream", **({"group": group} if group else {})},
            },
        )


def _operations() -> Iterator[tuple[str, Json]]:
    for operation, (action, channel, summary) in _OPERATIONS.items():
        message = _CHANNELS[channel][1]
        yield (
            operation,
            {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "summary": summary,
                "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
            },
        )


def _messages() -> Json:
    carried = _entry(
        "A decision as JSON beside the task's id.",
        {"task_id": {"type": "string"}, "decision": _as_json(_ref("Decision"))},
    )
    messages = {
        "Task": (_ref("Task"), [{"task_id": "t-1", "description": "Fix the authentication bug"}]),
        "Decision": (carried, []),
        "DecisionReference": (
            carried | {"description": "A decision whose context has no `text`."},
            [],
        ),
        "Outcome": (
            _ref("Outcome"),
            [{"task_id": "t-1", "master": "security-master", "outcome": "success", "score": "1"}],
        ),
        "FileChange": (_ref("FileChange"), [{"op": "put", "path": "src/auth.py"}]),
        "FileDelta": (_ref("FileDelta"), []),
        "DeadLetter": (_ref("DeadLetter"), []),
        "ControlChange": (_ref("ControlChange"), []),
    }
    return {
        name: {
            "name": name,
            "payload": payload,
            **({"examples": [{"payload": each} for each in examples]} if examples else {}),
        }
        for name, (payload, examples) in messages.items()
    }


def _schemas() -> Json:
    types = (Task, Outcome, FileChange, DeadLetter, RolloutConfig, Decision)
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        _describe(schema)
    for name in ("Task", "Decision"):
        schemas[name]["properties"]["metadata"] |= {"anyOf": [{"type": "object"}, {"type": "null"}]}
    for message in types[:-1]:
        schemas[message.__name__] = _flat(schemas[message.__name__])
    schemas["DeadLetter"]["properties"]["reason"]["x-reasons"] = dict(reasons.MEANINGS)
    return schemas | {
        "FileDelta": _entry(
            "The new state of one file. Written and read by Cortex alone; do not write it.",
            {
                "seq": _as_json({"type": "integer", "minimum": 1}),
                "log_id": {"type": "string", "description": "Changes if the log is begun anew."},
                "path": {"type": "string"},
                "version": _as_json({"type": "integer", "minimum": 1}),
                "payload": {
                    "type": "string",
                    "contentMediaType": "application/msgpack",
                    "description": "Chunks and vectors, or removal.",
                },
            },
        ),
        "ControlChange": _entry(
            "One change of the live configuration.",
            {
                "version": _as_json({"type": "integer", "minimum": 1}),
                "who": {"type": "string"},
                "why": {"type": "string"},
                "at": {"type": "string", "format": "date-time"},
                "from": _as_json({"type": "object"}),
                "to": _as_json({"type": "object"}),
            },
        ),
    }


def _describe(schema: Json) -> None:
    """Spread a docstring over the properties it describes; drop `extra`, no field of the wire."""
    text = inspect.cleandoc(schema["description"])
    schema["description"] = text.split("\n\nAttributes:")[0].replace("\n", " ")
    for name, about in _ATTRIBUTE.findall(text):
        if name in schema["properties"]:
            schema["properties"][name]["description"] = re.sub(r"\s+", " ", about)
    schema["properties"].pop("extra", None)


def _flat(schema: Json) -> Json:
    """Turn the schema of a message into that of a stream entry or hash, where all is text."""
    properties = {name: _text(each) for name, each in schema["properties"].items()}
    return schema | {"properties": properties, "additionalProperties": {"type": "string"}}


def _text(schema: Json) -> Json:
    choices = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
    kept = {key: schema[key] for key in ("description", "default") if schema.get(key) is not None}
    value = choices[0] if choices else {k: v for k, v in schema.items() if k not in kept}
    if value.get("type") == "string" or "enum" in value:
        return {"type": "string", **value, **kept}
    if "default" in kept:
        kept["default"] = json.dumps(kept["default"])
    return _as_json(value) | kept


def _as_json(schema: Json) -> Json:
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


def _entry(description: str, properties: Json) -> Json:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
    }


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def render() -> str:
    """Write the document as indented JSON text with a final line end."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
