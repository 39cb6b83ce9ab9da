from __future__ import annotations

import json

import msgspec
import orjson
import pytest
from msgspec import Raw

from contracts import reasons
from contracts.messages import Arm, Namespace, RolloutConfig, Task
from contracts.parse import parse_decision, parse_task
from contracts.parse_rollout import parse_rollout
from tests.malformed import CASES, TOLERATED, MalformedCase, ToleratedCase
from tests.poison import poison

ROLLOUT = {b"version": b"3", b"percentage": b"0.25"}
DECISION = {
    "task_id": "t-1",
    "timestamp": "2026-11-22T10:00:00.123Z",
    "description": "Fix the authentication bug",
    "metadata": None,
    "selected_master": "security-master",
    "method": "rule-based",
    "confidence": 0.9,
    "ab_test_group": "control",
    "bucket": 9999,
    "experiment": "router",
    "scores": {"security-master": 0.9},
    "propensity": 1,
    "rules_version": "r1",
    "model_version": None,
    "index_generation": None,
    "context": [],
    "context_status": "disabled",
    "latency_ms": 0.4,
    "attempt": 1,
    "config_version": 3,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_task_is_poison(case: MalformedCase) -> None:
    with poison(case.reason):
        parse_task(dict(case.fields))


@pytest.mark.parametrize("case", TOLERATED, ids=lambda case: case.name)
def test_odd_task_is_accepted(case: ToleratedCase) -> None:
    task = parse_task(dict(case.fields))
    assert task.description == case.description
    if task.metadata is not None:
        raw = bytes(task.metadata)
        assert raw.splitlines() == [raw]
        assert json.loads(raw).keys() == orjson.loads(raw).keys() == msgspec.json.decode(raw).keys()


def test_corpus_is_wide_and_distinct() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({tuple(case.fields) for case in CASES}) == len(CASES)
    assert len(CASES) >= 220
    assert {case.reason for case in CASES} <= reasons.MEANINGS.keys()


def test_every_reason_has_one_meaning() -> None:
    codes = {value for name, value in vars(reasons).items() if value == name.lower()}
    assert codes == reasons.MEANINGS.keys()
    assert len(set(reasons.MEANINGS.values())) == len(codes)


def test_task_with_everything() -> None:
    task = parse_task(
        {
            b"task_id": b"t-1",
            b"description": b" Fix\r\nthis ",
            b"metadata": b'{\n"a": 1.0 }\n',
            b"traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"tracestate": b"vendor=1",
            b"priority": "höch".encode(),
        }
    )
    assert task == Task(
        task_id="t-1",
        description="Fix\nthis",
        metadata=Raw(b'{ "a": 1.0 }'),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        tracestate="vendor=1",
        extra={"priority": "höch"},
    )


@pytest.mark.parametrize(
    ("traceparent", "kept"),
    [
        (b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-new", True),
        (b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        (b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.new", False),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n", False),
    ],
)
def test_trace_context_is_kept_only_if_valid(traceparent: bytes, kept: bool) -> None:  # noqa: FBT001 - a parameter of the table
    fields = {b"task_id": b"t-1", b"description": b"Fix", b"traceparent": traceparent}
    task = parse_task(fields | {b"tracestate": b"vendor=1"})
    assert (task.traceparent is not None) == (task.tracestate is not None) == kept


def test_decision_keeps_metadata_bytes_and_unknown_fields() -> None:
    raw = orjson.dumps(DECISION | {"metadata": "M", "new": [1], "extra": 5})
    decision = parse_decision(raw.replace(b'"M"', b'{"a": 1.0, "b":1e2}'))
    assert decision.metadata == Raw(b'{"a": 1.0, "b":1e2}')
    assert decision.extra == {"new": [1], "extra": 5}
    assert decision.propensity == 1.0
    assert decision.fallback_reason is msgspec.UNSET


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task_id": "a b"}, reasons.INVALID_SHAPE),
        ({"task_id": "a\n"}, reasons.INVALID_TASK_ID),
        ({"confidence": 1.5}, reasons.INVALID_SHAPE),
        ({"confidence": None}, reasons.INVALID_SHAPE),
        ({"bucket": 10_000}, reasons.INVALID_SHAPE),
        ({"bucket": True}, reasons.INVALID_SHAPE),
        ({"method": "magic"}, reasons.INVALID_SHAPE),
        ({"metadata": []}, reasons.METADATA_NOT_OBJECT),
        ({"metadata": {"a": "x" * 20_000}}, reasons.METADATA_TOO_LARGE),
        ({"context": [{}]}, reasons.INVALID_SHAPE),
        ({"shadow": None}, reasons.INVALID_SHAPE),
    ],
)
def test_malformed_decision_is_poison(change: dict[str, object], reason: str) -> None:
    with poison(reason):
        parse_decision(orjson.dumps(DECISION | change))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", reasons.INVALID_JSON),
        (b"[]", reasons.INVALID_SHAPE),
        (b"{}", reasons.INVALID_SHAPE),
        (b"[" * 1_000_000, reasons.INVALID_JSON),
        (b'{"a":' * 500_000, reasons.INVALID_JSON),
        (b'{"a":1e999}', reasons.NUMBER_OUT_OF_RANGE),
        (b'{"a":"\xff"}', reasons.INVALID_UTF8),
        (b" " * 4_194_305, reasons.ENTRY_TOO_LARGE),
    ],
)
def test_no_decision_at_all_is_poison(raw: bytes, reason: str) -> None:
    with poison(reason):
        parse_decision(raw)


def test_rollout() -> None:
    assert parse_rollout({}) == RolloutConfig()
    fields = ROLLOUT | {
        b"enable_neural": b"false",
        b"enable_rag": b"1",
        b"model": b"m-2",
        b"exploration": b"0.05",
        b"attribute": b"metadata.repo",
        b"coverage": b"0.5",
        b"namespace": b'{"id":"all","range":[0,0.5]}',
        b"arms": b'[{"name":"a","buckets":[0,10]},{"name":"b","buckets":[10,20],"model":"m-3"}]',
        b"force": b"true",
        b"stage": b"canary",
        b"paused": b"by hand",
        b"x": b"",
    }
    assert parse_rollout(fields) == RolloutConfig(
        version=3,
        percentage=0.25,
        enable_neural=False,
        enable_rag=True,
        model="m-2",
        exploration=0.05,
        attribute="metadata.repo",
        coverage=0.5,
        namespace=Namespace(id="all", range=(0, 0.5)),
        arms=(Arm(name="a", buckets=(0, 10)), Arm(name="b", buckets=(10, 20), model="m-3")),
        force=True,
        stage="canary",
        paused="by hand",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({b"percentage": b""}, reasons.MISSING_FIELD),
        ({b"version": b""}, reasons.MISSING_FIELD),
        ({b"percentage": b"25"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"percentage": b"25%"}, reasons.INVALID_NUMBER),
        ({b"percentage": b"nan"}, reasons.INVALID_NUMBER),
        ({b"percentage": b"1.0000001"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"percentage": b"-1e-9"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"version": b"1.5"}, reasons.INVALID_NUMBER),
        ({b"version": b"01"}, reasons.INVALID_NUMBER),
        ({b"enable_neural": b"yes"}, reasons.INVALID_VALUE),
        ({b"enable_rag": b"True"}, reasons.INVALID_VALUE),
        ({b"experiment": b"a b"}, reasons.INVALID_NAME),
        ({b"model": b"../m"}, reasons.INVALID_NAME),
        ({b"exploration": b"1.1"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"exploration": b"some"}, reasons.INVALID_NUMBER),
        ({b"attribute": b"metadata"}, reasons.INVALID_SHAPE),
        ({b"attribute": b"metadata.a b"}, reasons.INVALID_SHAPE),
        ({b"coverage": b"2"}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"namespace": b"all"}, reasons.INVALID_SHAPE),
        ({b"namespace": b'{"id":"all","range":[0.5,0.4]}'}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"namespace": b'{"id":"all","range":[0,1.1]}'}, reasons.INVALID_SHAPE),
        ({b"arms": b"[" * 10_000}, reasons.INVALID_SHAPE),
        ({b"arms": b'[{"name":"a","buckets":[5,4]}]'}, reasons.NUMBER_OUT_OF_RANGE),
        ({b"arms": b'[{"name":"a","buckets":[0,10001]}]'}, reasons.INVALID_SHAPE),
        ({b"arms": b'[{"name":"control","buckets":[0,1]}]'}, reasons.INVALID_VALUE),
        (
            {b"arms": b'[{"name":"a","buckets":[0,2]},{"name":"a","buckets":[2,4]}]'},
            reasons.INVALID_VALUE,
        ),
        (
            {b"arms": b'[{"name":"a","buckets":[0,3]},{"name":"b","buckets":[2,4]}]'},
            reasons.NUMBER_OUT_OF_RANGE,
        ),
        ({b"force": b"maybe"}, reasons.INVALID_VALUE),
        ({b"stage": b"a stage"}, reasons.INVALID_NAME),
    ],
)
def test_malformed_rollout_is_poison(change: dict[bytes, bytes], reason: str) -> None:
    with poison(reason):
        parse_rollout(ROLLOUT | change)
