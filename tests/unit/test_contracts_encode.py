from __future__ import annotations

import json
from typing import Any

import orjson
from msgspec import UNSET, Raw
from msgspec.structs import replace

from contracts.encode import encode_decision, encode_reference, rollout_fields, task_fields
from contracts.messages import ContextItem, Decision, RolloutConfig, Task
from contracts.parse import parse_decision

ITEM = ContextItem(
    collection="code",
    path="src/auth.py",
    start_line=1,
    end_line=9,
    kind="code",
    score=0.5,
    symbol="login",
    text="def login() -> None:\n    ...",
)
DECISION = Decision(
    task_id="t-1",
    timestamp="2026-11-22T10:00:00.123Z",
    description="Fix\nthis \u2028 “now”",
    metadata=Raw(b'{"a": 1.0}'),
    selected_master="security-master",
    method="neural",
    confidence=0.9,
    ab_test_group="treatment",
    bucket=17,
    experiment="router",
    scores={"security-master": 0.9, "dev-master": 0.1},
    propensity=1.0,
    rules_version="r1",
    model_version="m1",
    index_generation="g1",
    context=[ITEM],
    context_status="ok",
    latency_ms=0.4,
    attempt=1,
    config_version=3,
)


def _loads(raw: bytes) -> dict[str, Any]:
    value = orjson.loads(raw)
    assert value == json.loads(raw)
    return value  # type: ignore[no-any-return] # both readers agree that it is an object


def test_decision_is_one_line_of_json_with_metadata_byte_for_byte() -> None:
    raw = encode_decision(DECISION)
    assert b"\n" not in raw
    assert b"\r" not in raw
    assert b'"metadata":{"a": 1.0},' in raw
    assert _loads(raw)["description"] == DECISION.description


def test_absent_fields_are_left_out_and_none_is_null() -> None:
    document = _loads(encode_decision(replace(DECISION, metadata=None, model_version=None)))
    assert document["metadata"] is None
    assert document["model_version"] is None
    assert document.keys().isdisjoint({"fallback_reason", "shadow", "traceparent", "extra"})


def test_unknown_fields_stand_beside_the_known() -> None:
    decision = replace(DECISION, extra={"new": {"deep": [1]}, "extra": 5})
    document = _loads(encode_decision(decision))
    assert document["new"] == {"deep": [1]}
    assert document["extra"] == 5
    assert parse_decision(encode_decision(decision)) == decision


def test_reference_leaves_out_text_and_nothing_else() -> None:
    reference = parse_decision(encode_reference(DECISION, encode_decision(DECISION)))
    assert reference == replace(DECISION, context=[replace(ITEM, text=UNSET)])


def test_reference_is_the_same_object_without_text() -> None:
    for context in ([], [replace(ITEM, text=UNSET)]):
        decision = replace(DECISION, context=context)
        encoded = encode_decision(decision)
        assert encode_reference(decision, encoded) is encoded
        assert encode_reference(decision) == encoded


def test_known_fields_win_over_unknown_ones_of_the_same_name() -> None:
    task = Task(task_id="t-1", description="Fix", extra={"task_id": "x", "priority": "high"})
    assert task_fields(task) == {"task_id": "t-1", "description": "Fix", "priority": "high"}


def test_rollout_names_every_field_so_that_nothing_older_stays() -> None:
    assert rollout_fields(RolloutConfig(version=7, percentage=0.1)) == {
        "version": "7",
        "percentage": "0.1",
        "enable_neural": "true",
        "enable_rag": "true",
        "experiment": "router",
        "model": "",
        "exploration": "0.0",
        "attribute": "task_id",
        "coverage": "1.0",
        "namespace": "",
        "arms": "",
        "force": "false",
        "stage": "",
        "stage_since": "",
        "paused": "",
    }
