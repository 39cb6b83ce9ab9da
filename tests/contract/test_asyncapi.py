from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts import reasons
from contracts.asyncapi import document, render
from contracts.encode import rollout_fields
from contracts.messages import DeadLetter, Decision, FileChange, Outcome, RolloutConfig, Task
from contracts.parse import parse_file_change, parse_outcome, parse_task
from streams.keys import Keys
from vectors.currency import current_key

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).parents[2] / "docs" / "asyncapi.json"
DOCUMENT = document()
PARSERS = {"Task": parse_task, "Outcome": parse_outcome, "FileChange": parse_file_change}


def references(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def resolve(reference: str) -> Any:  # noqa: ANN401 - any JSON
    value: Any = DOCUMENT
    assert reference.startswith("#/")
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def test_file_is_what_the_types_say() -> None:
    assert FILE.read_bytes() == render().encode(), "run python -m contracts.asyncapi"


def test_root_has_what_asyncapi_3_asks() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    fields = {"asyncapi", "info", "defaultContentType", "servers", "channels", "operations"}
    assert {key for key in DOCUMENT if not key.startswith("x-")} == fields | {"components"}
    assert all({"host", "protocol"} <= server.keys() for server in DOCUMENT["servers"].values())


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert len(found) > 40
    assert all(resolve(reference) for reference in found)


def test_every_component_is_referred_to() -> None:
    found = set(references(DOCUMENT))
    for kind, components in DOCUMENT["components"].items():
        for name in components:
            assert f"#/components/{kind}/{name}" in found


def test_every_channel_describes_its_parameters() -> None:
    for channel in DOCUMENT["channels"].values():
        parameters = channel.get("parameters", {})
        assert channel["address"].count("{") == len(parameters)
        assert all(f"{{{name}}}" in channel["address"] for name in parameters)
        assert channel["bindings"] == {"redis": {}}


def test_every_operation_uses_messages_of_its_channel() -> None:
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{channel}/messages/")


def test_every_channel_has_an_operation() -> None:
    used = {operation["channel"]["$ref"] for operation in DOCUMENT["operations"].values()}
    assert used == {f"#/channels/{name}" for name in DOCUMENT["channels"]}


def test_addresses_are_the_keys_in_use() -> None:
    keys = Keys()
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    streams = {*keys.task_streams, keys.decisions, keys.outcomes, keys.files, keys.dead}
    streams |= {keys.control_log, keys.master("{name}"), keys.vectors("{collection}")}
    assert addresses == streams
    state = {keys.rollout, keys.archive_heads, keys.done("{task_id}")}
    state |= {current_key(keys.vectors("{collection}"))}
    assert DOCUMENT["x-redis-state"].keys() == state


@pytest.mark.parametrize(
    "message", [Task, Outcome, FileChange, DeadLetter, RolloutConfig, Decision]
)
def test_schema_names_every_field_but_extra(message: type) -> None:
    schema = DOCUMENT["components"]["schemas"][message.__name__]
    fields = set(message.__struct_fields__)  # type: ignore[attr-defined] # a Struct has them
    assert schema["properties"].keys() == fields - {"extra"}
    assert "Attributes:" not in schema["description"]


@pytest.mark.parametrize("name", ["Task", "Outcome", "FileChange", "DeadLetter", "RolloutConfig"])
def test_entries_are_flat_text(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    assert {each["type"] for each in schema["properties"].values()} == {"string"}


@pytest.mark.parametrize("name", PARSERS)
def test_examples_are_accepted(name: str) -> None:
    examples = DOCUMENT["components"]["messages"][name]["examples"]
    for example in examples:
        fields = {key.encode(): value.encode() for key, value in example["payload"].items()}
        PARSERS[name](fields)
    assert examples


def test_defaults_of_the_configuration_are_what_is_written() -> None:
    written = rollout_fields(RolloutConfig())
    properties = DOCUMENT["components"]["schemas"]["RolloutConfig"]["properties"]
    assert {name: each.get("default", "") for name, each in properties.items()} == written


def test_every_reason_is_explained() -> None:
    reason = DOCUMENT["components"]["schemas"]["DeadLetter"]["properties"]["reason"]
    assert reason["x-reasons"] == dict(reasons.MEANINGS)


def test_document_survives_json() -> None:
    assert json.loads(render()) == DOCUMENT
