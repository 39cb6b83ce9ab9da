"""The messages of the wire contract, as frozen types.

A field that a writer may leave out is `UNSET` or `None` here; a field this version does not know is
kept in `extra`, so that a message passes through an older reader unharmed. Parsing from the wire is
`contracts.parse`; encoding is `contracts.encode`. Limits written as `Meta` hold for what is read
from the wire and appear in the AsyncAPI document; constructors do not check them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

Method = Literal["rule-based", "neural"]
Group = Literal["control", "treatment"]
ContextStatus = Literal["ok", "empty", "disabled", "limited", "unavailable"]
Assignment = Literal["forced", "excluded"]
OutcomeKind = Literal["success", "failed", "rerouted"]
FileOp = Literal["put", "delete", "move"]
TaskId = Annotated[str, Meta(pattern="^[!-~]{1,128}$")]
Description = Annotated[str, Meta(min_length=1, max_length=8192)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Bucket = Annotated[int, Meta(ge=0, le=9999)]
LineNumber = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Duration = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
Edge = Annotated[int, Meta(ge=0, le=10_000)]
Attribute = Annotated[str, Meta(pattern=r"^(task_id|metadata(\.[A-Za-z0-9_-]{1,64}){1,8})\Z")]


class Task(Struct, frozen=True, kw_only=True):
    """One piece of work in plain words, as an orchestrator pushed it.

    Attributes:
        task_id: 1-128 visible ASCII characters; the identity that is decided once.
        description: 1-8,192 characters after cleaning.
        metadata: a JSON object as its validated original bytes, at most 16 KiB and 16 levels deep.
        traceparent: W3C trace context, passed through.
        tracestate: W3C trace context, passed through.
        extra: every field this version does not know.
    """

    task_id: TaskId
    description: Description
    metadata: Raw | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    extra: dict[str, str] = field(default_factory=dict)


class ContextItem(Struct, frozen=True, kw_only=True):
    """One retrieved place in the code base: lines `start_line`..`end_line` (1-based, inclusive)."""

    collection: str
    path: str
    start_line: LineNumber
    end_line: LineNumber
    kind: str
    score: float
    symbol: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    related: list[str] | UnsetType = UNSET


class Shadow(Struct, frozen=True, kw_only=True):
    """What a router that was not followed would have decided.

    Attributes:
        model_version: the model whose opinion this is; absent where it is the rules'.
    """

    selected_master: str
    confidence: Probability
    model_version: str | UnsetType = UNSET


class Decision(Struct, frozen=True, kw_only=True):
    """Where one task goes, why, and with what context.

    Attributes:
        timestamp: RFC 3339, UTC.
        confidence: calibrated probability that `selected_master` is right, 0-1.
        bucket: 0-9999, from the assignment hash.
        arm: which of several treatment arms; absent where there is one.
        assignment: `forced` by the task itself, or `excluded` from the experiment; absent where the
            hash decided. Only those are a random sample.
        unit: what was hashed; absent where that is the task id.
        fallback_reason: why treatment was routed by rules; absent when nothing fell back.
        scores: probability per master; sums to 1.
        propensity: probability with which the policy chose `selected_master`.
        index_age_ms: how far the searched index may lag behind the files; absent where no indexer
            has said.
        latency_ms: from the entry's arrival in the worker to the decision.
        attempt: 1 for the first delivery.
        extra: every field this version does not know (only on decisions read from the wire).
    """

    task_id: TaskId
    timestamp: str
    description: Description
    metadata: Raw | None
    selected_master: str
    method: Method
    confidence: Probability
    ab_test_group: Group
    bucket: Bucket
    experiment: str
    scores: dict[str, float]
    propensity: Probability
    rules_version: str
    model_version: str | None
    index_generation: str | None
    context: list[ContextItem]
    context_status: ContextStatus
    latency_ms: Duration
    attempt: Count
    config_version: Count
    arm: str | UnsetType = UNSET
    assignment: Assignment | UnsetType = UNSET
    unit: str | UnsetType = UNSET
    fallback_reason: str | UnsetType = UNSET
    shadow: Shadow | UnsetType = UNSET
    index_age_ms: Count | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class Outcome(Struct, frozen=True, kw_only=True):
    """How a task went, as its master reports it."""

    task_id: TaskId
    master: str
    outcome: OutcomeKind
    correct_master: str | None = None
    score: Probability | None = None
    duration_ms: Duration | None = None
    detail: str | None = None
    files: list[str] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)


class FileChange(Struct, frozen=True, kw_only=True):
    """A hint that a file changed; the indexer reads what the file says now."""

    op: FileOp
    path: str
    old_path: str | None = None
    collection: str = "code"
    root: str | None = None
    extra: dict[str, str] = field(default_factory=dict)


class DeadLetter(Struct, frozen=True, kw_only=True):
    """An entry that could not be handled, with everything needed to replay it."""

    source: str
    entry_id: str
    reason: str
    detail: str
    payload: dict[str, str]
    attempts: Count
    at: str
    extra: dict[str, str] = field(default_factory=dict)


class Arm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One treatment arm of an experiment with several; what is in no arm is control.

    Attributes:
        name: reported as `arm` in decisions.
        buckets: half-open range of buckets, `[first, beyond)`.
        model: version or alias of the registry; None is the configuration's own.
    """

    name: Name
    buckets: tuple[Edge, Edge]
    model: Name | None = None


class Namespace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of all units that an experiment may use; others use other parts of it.

    Attributes:
        id: what mutually exclusive experiments have in common.
        range: half-open range of 0-1.
    """

    id: Name
    range: tuple[Probability, Probability]


class RolloutConfig(Struct, frozen=True, kw_only=True):
    """The live configuration in `control:rollout`; one version of it serves one decision.

    Attributes:
        version: grows by one with every change; 0 means nothing was ever set.
        percentage: fraction of tasks in treatment, 0-1.
        model: version or alias that treatment is decided by; None is the champion.
        exploration: fraction of treatment that is not simply given to the best, 0-1; the router
            caps it, see `router.explore`.
        attribute: what is hashed: `task_id`, or `metadata.` and the path of a string or number in
            the task's metadata, so that all tasks that share it are in one arm. A task without it
            is in the experiment by its id.
        coverage: fraction of units that take part in the experiment, 0-1; the others are in
            control and not counted.
        namespace: where set, only units in it take part.
        arms: where set, these take the place of `percentage`.
        force: whether a task may choose its own group by `metadata.force_group`, for tests.
        stage: name of the stage the rollout is in; None where it was set by hand.
        stage_since: when it got there, RFC 3339, UTC.
        paused: why the controller leaves the rollout alone; None where it does not.
    """

    version: Count = 0
    percentage: Probability = 0.0
    enable_neural: bool = True
    enable_rag: bool = True
    experiment: str = "router"
    model: str | None = None
    exploration: Probability = 0.0
    attribute: Attribute = "task_id"
    coverage: Probability = 1.0
    namespace: Namespace | None = None
    arms: tuple[Arm, ...] | None = None
    force: bool = False
    stage: Name | None = None
    stage_since: str | None = None
    paused: str | None = None
