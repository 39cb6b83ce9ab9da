"""What the live tests of rollouts look for is found where it is."""

from __future__ import annotations

import msgspec
import pytest

from chaos.live_rollout import Settled, followed_after, mixed
from contracts.messages import Decision, RolloutConfig
from router.assignment import bucket

CONFIGS = {
    1: RolloutConfig(version=1, percentage=1.0),
    2: RolloutConfig(version=2, percentage=0.0),
    3: RolloutConfig(version=3, percentage=0.0, enable_rag=False),
}
TREATED = Decision(
    task_id="t-1",
    timestamp="2026-01-01T00:00:00Z",
    description="Fix it",
    metadata=None,
    selected_master="development-master",
    method="neural",
    confidence=0.75,
    ab_test_group="treatment",
    bucket=bucket("router", "t-1"),
    experiment="router",
    scores={"development-master": 1.0},
    propensity=1.0,
    rules_version="r",
    model_version="m",
    index_generation=None,
    context=[],
    context_status="empty",
    latency_ms=1.0,
    attempt=1,
    config_version=1,
)


def test_what_one_version_explains() -> None:
    fell_back = msgspec.structs.replace(TREATED, method="rule-based", fallback_reason="abstained")
    control = msgspec.structs.replace(
        TREATED, method="rule-based", ab_test_group="control", config_version=2
    )
    for each in (TREATED, fell_back, control):
        assert mixed(each, CONFIGS) is None


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"config_version": 2}, "group"),
        ({"ab_test_group": "control"}, "group"),
        ({"config_version": 2, "ab_test_group": "control"}, "method"),
        ({"method": "rule-based"}, "method"),
        ({"fallback_reason": "abstained"}, "method"),
        ({"bucket": (TREATED.bucket + 1) % 10_000}, "bucket"),
        ({"experiment": "other"}, "experiment"),
        ({"context_status": "disabled"}, "context"),
        ({"config_version": 3}, "context"),
    ],
)
def test_what_it_does_not(changes: dict[str, object], what: str) -> None:
    found = mixed(msgspec.structs.replace(TREATED, **changes), CONFIGS)
    assert found is not None
    assert what in found


def test_how_late_the_last_one_was() -> None:
    decisions = [
        Settled(at, msgspec.structs.replace(TREATED, config_version=version))
        for at, version in ((9.0, 1), (10.1, 1), (10.2, 2), (10.4, 1), (10.7, 2), (11.0, 3))
    ]
    assert followed_after(decisions, 2, 10.0) == pytest.approx(0.4)
    assert followed_after(decisions, 1, 10.0) == 0
    assert followed_after(decisions, 2, 10.5) == 0
