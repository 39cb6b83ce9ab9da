from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from contracts import reasons
from contracts.clean import clean
from contracts.encode import (
    dead_letter_fields,
    encode_decision,
    encode_reference,
    file_change_fields,
    outcome_fields,
    rollout_fields,
    task_fields,
)
from contracts.errors import PoisonError
from contracts.messages import (
    Arm,
    ContextItem,
    DeadLetter,
    Decision,
    FileChange,
    Namespace,
    Outcome,
    RolloutConfig,
    Shadow,
    Task,
)
from contracts.parse import (
    parse_dead_letter,
    parse_decision,
    parse_file_change,
    parse_outcome,
    parse_task,
)
from contracts.parse_rollout import parse_rollout

if TYPE_CHECKING:
    from collections.abc import Callable

PARSERS: list[tuple[Callable[[dict[bytes, bytes]], object], type[msgspec.Struct]]] = [
    (parse_task, Task),
    (parse_outcome, Outcome),
    (parse_file_change, FileChange),
    (parse_dead_letter, DeadLetter),
    (parse_rollout, RolloutConfig),
]

plain = st.text(st.characters(exclude_categories=["Cs"]))
cleaned = plain.map(clean).filter(bool)
task_ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
probabilities = st.floats(0, 1)
positive = st.floats(0, allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10**18 - 1)
paths = st.lists(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"), min_size=1
    ).filter(lambda part: part not in {".", ".."}),
    min_size=1,
    max_size=5,
).map("/".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | positive | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=8,
)
numbers = st.from_regex(
    r"-?(0|[1-9][0-9]{0,320})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)
strings = st.from_regex(r'"(\\u(d83d|de80|0000|2028)|\\[nt"\\/]|[a-z{\[]){0,5}"', fullmatch=True)
metadata = st.dictionaries(plain, json_values, max_size=3).map(orjson.dumps).map(Raw)
traces = st.from_regex(r"00-[0-9a-f]{31}1-[0-9a-f]{15}1-[0-9a-f]{2}", fullmatch=True)


def unknown(
    message: type[msgspec.Struct], values: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    known = set(message.__struct_fields__) - {"extra"}
    keys = (plain | st.just("extra")).filter(lambda name: name not in known)
    return st.dictionaries(keys, values, max_size=3)


tasks = st.builds(
    Task,
    task_id=task_ids,
    description=cleaned,
    metadata=st.none() | metadata,
    traceparent=traces,
    tracestate=st.none() | st.just("vendor=1,other=2"),
    extra=unknown(Task, plain),
)
outcomes = st.builds(
    Outcome,
    task_id=task_ids,
    master=names,
    outcome=st.sampled_from(["success", "failed", "rerouted"]),
    correct_master=st.none() | names,
    score=st.none() | probabilities,
    duration_ms=st.none() | positive,
    detail=st.none() | cleaned,
    files=st.lists(paths, max_size=3),
    extra=unknown(Outcome, plain),
)
changes = st.builds(
    FileChange,
    op=st.sampled_from(["put", "delete", "move"]),
    path=paths,
    old_path=paths,
    collection=names,
    root=st.none() | cleaned,
    extra=unknown(FileChange, plain),
)
letters = st.builds(
    DeadLetter,
    source=cleaned,
    entry_id=st.from_regex(r"[0-9]{1,20}-[0-9]{1,20}", fullmatch=True),
    reason=st.sampled_from(sorted(reasons.MEANINGS)),
    detail=plain.map(clean),
    payload=st.dictionaries(plain, plain, max_size=3),
    attempts=counts,
    at=cleaned,
    extra=unknown(DeadLetter, plain),
)
rollouts = st.builds(
    RolloutConfig,
    version=counts,
    percentage=probabilities,
    enable_neural=st.booleans(),
    enable_rag=st.booleans(),
    experiment=names,
    model=st.none() | names,
    exploration=probabilities,
    attribute=st.just("task_id") | st.from_regex(r"metadata(\.[a-z_-]{1,9}){1,8}", fullmatch=True),
    coverage=probabilities,
    namespace=st.none()
    | st.builds(
        Namespace,
        id=names,
        range=st.tuples(probabilities, probabilities).map(lambda pair: tuple(sorted(pair))),
    ),
    arms=st.none()
    | st.tuples(
        st.builds(Arm, name=names.filter(lambda name: name != "control"), buckets=st.just((3, 9)))
    ),
    force=st.booleans(),
    stage=st.none() | names,
    paused=st.none() | cleaned,
)
lines = st.integers(1, 10**6)
contexts = st.lists(
    st.builds(
        ContextItem,
        collection=names,
        path=paths,
        start_line=lines,
        end_line=lines,
        kind=names,
        score=positive,
        symbol=plain | st.just(UNSET),
        text=plain | st.just(UNSET),
        related=st.lists(paths, max_size=2) | st.just(UNSET),
    ),
    max_size=3,
)
decisions = st.builds(
    Decision,
    task_id=task_ids,
    timestamp=st.datetimes().map(lambda at: at.isoformat() + "Z"),
    description=cleaned,
    metadata=st.none() | metadata,
    selected_master=names,
    method=st.sampled_from(["rule-based", "neural"]),
    confidence=probabilities,
    ab_test_group=st.sampled_from(["control", "treatment"]),
    bucket=st.integers(0, 9999),
    experiment=names,
    scores=st.dictionaries(names, probabilities, max_size=5),
    propensity=probabilities,
    rules_version=names,
    model_version=st.none() | names,
    index_generation=st.none() | names,
    context=contexts,
    context_status=st.sampled_from(["ok", "empty", "disabled", "limited", "unavailable"]),
    latency_ms=positive,
    attempt=counts,
    config_version=counts,
    fallback_reason=names | st.just(UNSET),
    shadow=st.builds(Shadow, selected_master=names, confidence=probabilities) | st.just(UNSET),
    index_age_ms=counts | st.just(UNSET),
    traceparent=traces | st.just(UNSET),
    tracestate=st.just("vendor=1") | st.just(UNSET),
    extra=unknown(Decision, json_values).map(lambda extra: extra or UNSET),
)


def wire(fields: dict[str, str | bytes]) -> dict[bytes, bytes]:
    return {
        name.encode(): value.encode() if isinstance(value, str) else value
        for name, value in fields.items()
    }


def answer(parser: Callable[[Any], Any], wire: object) -> Any:  # noqa: ANN401 - any message
    """What a parser returns or refuses with; anything else it raises fails the test."""
    try:
        return parser(wire)
    except PoisonError as error:
        known = error.reason in reasons.MEANINGS and error.detail.isprintable()
        return error if known else None


@given(st.data())
def test_whatever_the_bytes_the_answer_is_a_value_or_poison(data: st.DataObject) -> None:
    for parser, message in PARSERS:
        known = st.sampled_from([name.encode() for name in message.__struct_fields__])
        value = st.binary() | st.sampled_from(
            [b"1", b"put", b"success", b"{}", b"[]", b"a", b"1-1"]
        )
        fields = data.draw(st.dictionaries(known | st.binary(), value))
        assert isinstance(answer(parser, fields), message | PoisonError)


@given(st.binary() | json_values.map(orjson.dumps))
def test_whatever_the_bytes_a_decision_is_a_value_or_poison(raw: bytes) -> None:
    assert isinstance(answer(parse_decision, raw), Decision | PoisonError)


@given(st.data(), decisions)
def test_a_damaged_decision_is_a_value_or_poison(data: st.DataObject, decision: Decision) -> None:
    raw = bytearray(encode_decision(decision))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    assert isinstance(answer(parse_decision, bytes(raw)), Decision | PoisonError)


@given(plain)
def test_clean_text_stays_as_it_is(text: str) -> None:
    left = clean(text)
    assert clean(left) == left == left.strip()


@given(numbers | strings)
def test_accepted_metadata_is_what_every_reader_accepts(text: str) -> None:
    fields = {b"task_id": b"t", b"description": b"x", b"metadata": b'{"a":' + text.encode() + b"}"}
    task = answer(parse_task, fields)
    assume(isinstance(task, Task))
    raw = bytes(task.metadata)
    assert b"\n" not in raw
    values = [read(raw)["a"] for read in (json.loads, orjson.loads, msgspec.json.decode)]
    assert len({value if isinstance(value, str) else float(value) for value in values}) == 1


@given(st.integers(-(10**400), 10**400) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_passes_just_if_a_double_holds_it(value: float) -> None:
    text = str(value)
    fields = {b"task_id": b"t", b"description": b"x", b"metadata": b'{"a":%s}' % text.encode()}
    task = answer(parse_task, fields)
    if math.isinf(float(text)):
        assert isinstance(task, PoisonError)
        assert task.reason == reasons.NUMBER_OUT_OF_RANGE
    else:
        assert isinstance(task, Task)
        assert task.metadata == Raw(fields[b"metadata"])


@given(tasks)
def test_task_comes_back(task: Task) -> None:
    assert parse_task(wire(task_fields(task))) == task


@given(outcomes)
def test_outcome_comes_back(outcome: Outcome) -> None:
    assert parse_outcome(wire(outcome_fields(outcome))) == outcome


@given(changes)
def test_file_change_comes_back(change: FileChange) -> None:
    assert parse_file_change(wire(file_change_fields(change))) == change


@given(letters)
def test_dead_letter_comes_back(letter: DeadLetter) -> None:
    assert parse_dead_letter(wire(dead_letter_fields(letter))) == letter


@given(rollouts)
def test_rollout_comes_back(config: RolloutConfig) -> None:
    assert parse_rollout(wire(rollout_fields(config))) == config


@given(decisions)
def test_decision_comes_back_from_one_line_of_json(decision: Decision) -> None:
    raw = encode_decision(decision)
    assert raw.count(b"\n") == raw.count(b"\r") == 0
    assert json.loads(raw) == orjson.loads(raw)
    assert parse_decision(raw) == decision


@given(decisions)
def test_reference_comes_back_without_text(decision: Decision) -> None:
    reference = parse_decision(encode_reference(decision, encode_decision(decision)))
    assert all(item.text is UNSET or not item.text for item in reference.context)
    assert [item.path for item in reference.context] == [item.path for item in decision.context]
