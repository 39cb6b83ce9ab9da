from __future__ import annotations

import msgspec
import numpy as np
import pytest

from learning.gate import Comparison, GateSettings, held_back, judge, refusal

SETTINGS = GateSettings()
FINE = {"outcomes": 500, "new": 200, "fingerprint": "b", "seen": "a", "settings": SETTINGS}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, None),
        ({"seen": None}, None),
        ({"outcomes": SETTINGS.min_outcomes - 1}, "too thin: 39 outcomes"),
        ({"seen": "b"}, "unchanged"),
        ({"new": 60}, "too thin: 60 outcomes since the champion was trained, of at least 67"),
        ({"new": 67}, None),
    ],
)
def test_a_round_without_enough_to_learn_from_says_why(
    given: dict[str, object], reason: str | None
) -> None:
    refused = refusal(**(FINE | given))  # type: ignore[arg-type] # one of the rows above
    assert (refused is None) if reason is None else reason in (refused or "")


@pytest.mark.parametrize(("new", "expected"), [(10, 3), (1, 0), (0, 0), (20, 6)])
def test_held_back_is_the_youngest_of_what_the_champion_has_not_seen(
    new: int, expected: int
) -> None:
    unseen = np.arange(20) >= 20 - new
    chosen = held_back(unseen, 0.3)
    assert chosen.tolist() == [False] * (20 - expected) + [True] * expected


def test_what_the_champion_has_seen_is_never_held_back() -> None:
    unseen = np.array([False, True, False, True, True, False])
    assert held_back(unseen, 0.67).tolist() == [False, False, False, True, True, False]


COMPARISON = Comparison(
    n=100, candidate=0.8, champion=0.8, rules=0.6, difference=0.0, low=-0.05, high=0.05, ess=80.0
)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.05, 0.05, "challenger"),
        (0.02, 0.1, "challenger"),
        (-0.3, -0.005, "challenger"),
        (-0.3, -0.02, "refused"),
        (-1.0, 1.0, "challenger"),
    ],
)
def test_only_what_is_plainly_worse_is_kept_from_the_shadow(
    low: float, high: float, verdict: str
) -> None:
    judged = judge(msgspec.structs.replace(COMPARISON, low=low, high=high), SETTINGS)
    assert judged.verdict == verdict
    assert judged.reason.startswith("worse") == (verdict == "refused")
