"""Time of one message: reading a task, building and writing a decision; msgspec against pydantic.

Run from the repository's root: `python -m bench.contracts`. Both sides do the same work with the
same cleaning, the same strict JSON and the same limits; pydantic (needed for this only) is used as
its documentation advises: annotated types, a model built once, `model_dump_json`.
"""

from __future__ import annotations

import timeit
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from msgspec import Raw
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from rich.console import Console
from rich.table import Table

from contracts.clean import clean
from contracts.encode import encode_decision, encode_reference
from contracts.messages import ContextItem, Decision
from contracts.parse import parse_decision, parse_task

if TYPE_CHECKING:
    from collections.abc import Callable

MINIMAL = {
    b"task_id": b"01J8Z6Y2V6W0X3T4Q5R6S7T8U9",
    b"description": b"Fix the authentication bug in the login flow, sessions expire early",
}
METADATA = MINIMAL | {
    b"metadata": b'{"priority": "high", "repo": "acme/api", "labels": ["auth", "bug"], "est": 3}'
}
TRACED = METADATA | {b"traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
LOCAL = {
    b"task_id": MINIMAL[b"task_id"],
    b"description": "Répare l'authentification : les sessions expirent trop tôt".encode(),
}

# --- the same messages in pydantic


def _object(text: str | None) -> dict[str, Any] | None:
    return orjson.loads(text) if text else None


class PydanticTask(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")
    task_id: Annotated[str, Field(pattern="^[!-~]{1,128}$")]
    description: Annotated[
        str, Field(max_length=65_536), AfterValidator(clean), Field(min_length=1, max_length=8192)
    ]
    metadata: Annotated[dict[str, Any] | None, BeforeValidator(_object)] = None
    traceparent: Annotated[str | None, Field(pattern=r"^[0-9a-f]{2}-[0-9a-f-]{52}$")] = None
    tracestate: str | None = None


class PydanticContext(BaseModel):
    model_config = ConfigDict(frozen=True)
    collection: str
    path: str
    start_line: Annotated[int, Field(ge=1)]
    end_line: Annotated[int, Field(ge=1)]
    kind: str
    score: float
    symbol: str | None = None
    text: str | None = None


class PydanticDecision(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    task_id: Annotated[str, Field(pattern="^[!-~]{1,128}$")]
    timestamp: str
    description: str
    metadata: dict[str, Any] | None
    selected_master: str
    method: Literal["rule-based", "neural"]
    confidence: Annotated[float, Field(ge=0, le=1)]
    ab_test_group: Literal["control", "treatment"]
    bucket: Annotated[int, Field(ge=0, le=9999)]
    experiment: str
    scores: dict[str, float]
    propensity: Annotated[float, Field(ge=0, le=1)]
    rules_version: str
    model_version: str | None
    index_generation: str | None
    context: list[PydanticContext]
    context_status: Literal["ok", "empty", "disabled", "limited", "unavailable"]
    latency_ms: Annotated[float, Field(ge=0)]
    attempt: int
    config_version: int


def pydantic_parse(fields: dict[bytes, bytes]) -> PydanticTask:
    return PydanticTask.model_validate(
        {str(k, "utf-8"): str(v, "utf-8") for k, v in fields.items()}
    )


# --- one decision, with and without context

DECIDED: dict[str, Any] = {
    "task_id": "01J8Z6Y2V6W0X3T4Q5R6S7T8U9",
    "timestamp": "2026-11-22T10:00:00.123Z",
    "description": MINIMAL[b"description"].decode(),
    "selected_master": "security-master",
    "method": "neural",
    "confidence": 0.93,
    "ab_test_group": "treatment",
    "bucket": 123,
    "experiment": "router",
    "scores": {
        "security-master": 0.93,
        "development-master": 0.04,
        "cicd-master": 0.01,
        "inventory-master": 0.01,
        "coordinator-master": 0.01,
    },
    "propensity": 1.0,
    "rules_version": "r-5f2c1e",
    "model_version": "m-20261121",
    "index_generation": "g-42",
    "context_status": "ok",
    "latency_ms": 1.2,
    "attempt": 1,
    "config_version": 3,
}
PLACE = {
    "collection": "code",
    "path": "src/auth/session.py",
    "start_line": 10,
    "end_line": 42,
    "kind": "code",
    "score": 0.71,
    "symbol": "Session.renew",
    "text": "    def renew(self) -> None:\n" + "        self.expires = now() + self.ttl\n" * 20,
}
RAW = Raw(METADATA[b"metadata"])
LOADED = orjson.loads(METADATA[b"metadata"])


def build(places: int) -> Decision:
    context = [ContextItem(**PLACE) for _ in range(places)]  # type: ignore[arg-type] # a table's row
    return Decision(**DECIDED, metadata=RAW, context=context)


def pydantic_build(places: int) -> PydanticDecision:
    context = [PydanticContext(**PLACE) for _ in range(places)]  # type: ignore[arg-type] # as above
    return PydanticDecision(**DECIDED, metadata=LOADED, context=context)


def unchecked_build(places: int) -> PydanticDecision:
    context = [PydanticContext.model_construct(**PLACE) for _ in range(places)]  # type: ignore[arg-type] # as above
    return PydanticDecision.model_construct(**DECIDED, metadata=LOADED, context=context)


def microseconds(work: Callable[[], object]) -> float:
    """Best of seven rounds: what the work costs when nothing else runs."""
    rounds = 5000
    return min(timeit.repeat(work, number=rounds, repeat=7)) / rounds * 1e6


def main() -> None:
    plain, rich, heavy = build(0), build(5), pydantic_build(5)
    encoded = encode_decision(plain)
    rows: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        *(
            (
                f"parse task, {what}",
                lambda f=fields: parse_task(f),
                lambda f=fields: pydantic_parse(f),
            )
            for what, fields in {
                "minimal": MINIMAL,
                "with metadata": METADATA,
                "with metadata and trace": TRACED,
                "not ASCII": LOCAL,
            }.items()
        ),
        (
            "build and encode decision",
            lambda: encode_decision(build(0)),
            lambda: pydantic_build(0).model_dump_json().encode(),
        ),
        (
            "the same, pydantic unchecked",
            lambda: encode_decision(build(0)),
            lambda: unchecked_build(0).model_dump_json().encode(),
        ),
        (
            "build and encode decision, 5 places",
            lambda: encode_decision(build(5)),
            lambda: pydantic_build(5).model_dump_json().encode(),
        ),
        (
            "its reference, without text",
            lambda: encode_reference(rich),
            lambda: heavy.model_dump_json(exclude={"context": {"__all__": {"text"}}}).encode(),
        ),
        (
            "parse decision",
            lambda: parse_decision(encoded),
            lambda: PydanticDecision.model_validate_json(encoded),
        ),
    ]
    table = Table("work", "Cortex, us", "pydantic, us", "ratio")
    for what, ours, theirs in rows:
        mine, other = microseconds(ours), microseconds(theirs)
        table.add_row(what, f"{mine:.2f}", f"{other:.2f}", f"{other / mine:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
