from __future__ import annotations

import pytest

from chaos.history import Outputs, violations

GOOD = Outputs(masters={"a": ["1", "2"], "b": ["3"]}, decisions=["1", "2", "3"], dead=["4"])
SEEN = {"1": "ok", "2": "unknown", "3": "ok", "4": "ok", "5": "unknown", "6": "failed"}


def test_a_correct_history_has_no_violations() -> None:
    assert violations(SEEN, GOOD) == []


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        (Outputs({"a": ["1", "2"], "b": []}, ["1", "2"], ["4"]), "lost: 3"),
        (Outputs({"a": ["1", "2"], "b": ["3"]}, ["1", "2", "3"]), "lost: 4"),
        (Outputs({"a": ["1", "2"], "b": ["3", "1"]}, ["1", "1", "2", "3"], ["4"]), "doubled: 1 x2"),
        (Outputs({"a": ["1", "2"], "b": ["3"]}, ["1", "2", "3"], ["4", "3"]), "doubled: 3 x2"),
        (Outputs({"a": ["1", "6"], "b": ["3"]}, ["1", "6", "3"], ["4"]), "refused but present: 6"),
        (Outputs({"a": ["1", "9"], "b": ["3"]}, ["1", "9", "3"], ["4"]), "unexpected: 9"),
        (Outputs({"a": ["1"], "b": ["3"]}, ["1"], ["4"]), "audit: 3 delivered 1, audited 0"),
        (Outputs({"a": ["1"], "b": ["3"]}, ["1", "3", "2"]), "audit: 2 delivered 0, audited 1"),
        (Outputs({"a": ["1"], "b": ["3"]}, ["1", "3"], ["4"], pending=2), "pending: 2"),
        (Outputs({"a": ["1"], "b": ["3"]}, ["1", "3"], ["4"], mislaid=["3"]), "mislaid: 3"),
    ],
)  # fmt: skip
def test_each_kind_of_fault_is_named(outputs: Outputs, complaint: str) -> None:
    assert complaint in violations(SEEN, outputs)
