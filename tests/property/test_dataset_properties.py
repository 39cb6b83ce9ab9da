"""However entries arrive, the data set is the one that a few lines of Python make of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learning.dataset import Dataset
from learning.records import DecisionRecord, OutcomeRecord, Reported
from tests.learning_records import MINUTE, T0, decided, outcome

TASKS = st.sampled_from(["t-1", "t-2", "t-3"])
MASTERS = st.sampled_from(["development-master", "security-master"])
TIMES = st.integers(0, 8).map(lambda n: T0 + n * MINUTE // 2)
Record = DecisionRecord | OutcomeRecord


@st.composite
def entries(draw: st.DrawFn) -> list[Record]:
    """Entries of both streams, each with an id of its own."""
    found: dict[tuple[str, str], Record] = {}
    for at_ms, seq, is_decision in draw(
        st.lists(st.tuples(TIMES, st.integers(8, 11), st.booleans()), max_size=12)
    ):
        entry_id, task = f"{at_ms}-{seq}", draw(TASKS)
        if is_decision:
            text = draw(st.sampled_from(["fix it", "ship it"]))
            made: Record = decided(task, at_ms, entry_id=entry_id, text=text)
        else:
            kind = draw(st.sampled_from(["success", "failed", "rerouted"]))
            correct = draw(st.none() | MASTERS) if kind == "rerouted" else None
            changes = {"entry_id": entry_id, "master": draw(MASTERS), "correct_master": correct}
            made = outcome(task, kind, at_ms, **changes)
        found.setdefault((made.stream, entry_id), made)
    return list(found.values())


def time_of(record: Record) -> tuple[int, int]:
    return record.at_ms, int(record.entry_id.partition("-")[2])


def model(records: list[Record]) -> list[Reported]:
    """What the data set says it is, said once more."""
    decisions = sorted((r for r in records if isinstance(r, DecisionRecord)), key=time_of)
    outcomes = sorted((r for r in records if isinstance(r, OutcomeRecord)), key=time_of)
    last: dict[int, OutcomeRecord] = {}
    for each in outcomes:
        before = [
            number
            for number, decision in enumerate(decisions)
            if decision.task_id == each.task_id and decision.at_ms <= each.at_ms + MINUTE
        ]
        if before:
            last[before[-1]] = each
    return [Reported(decisions[number], last[number]) for number in sorted(last)]


def append(dataset: Dataset, records: list[Record]) -> None:
    dataset.append(
        [each for each in records if isinstance(each, DecisionRecord)],
        [each for each in records if isinstance(each, OutcomeRecord)],
    )


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(records=entries(), data=st.data())
def test_any_order_grouping_and_doubling_makes_the_same_data_set(
    records: list[Record], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain, odd = Dataset(Path(folder, "plain")), Dataset(Path(folder, "odd"))
        append(plain, records)

        doubled = data.draw(st.lists(st.sampled_from(records), max_size=4)) if records else []
        arriving = data.draw(st.permutations([*records, *doubled]))
        while arriving:
            count = data.draw(st.integers(1, len(arriving)))
            append(odd, arriving[:count])
            arriving = arriving[count:]
            if data.draw(st.booleans()):
                odd.compact()

        assert list(plain.reported()) == list(odd.reported()) == model(records)
        assert plain.fingerprint() == odd.fingerprint()
        assert plain.lessons() == odd.lessons()
        assert plain.counts() == odd.counts()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches=st.lists(entries(), min_size=1, max_size=4), data=st.data())
def test_a_version_stays_what_it_was(batches: list[list[Record]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(Path(folder))
        seen: dict[tuple[str, str], Record] = {}
        known = {0: dataset.fingerprint()}
        for batch in batches:
            new = {(each.stream, each.entry_id): each for each in batch}
            append(
                dataset, [each for key, each in new.items() if seen.setdefault(key, each) is each]
            )
            known[dataset.version] = dataset.fingerprint()
            match data.draw(st.sampled_from(["append", "compact", "tidy"])):
                case "compact":
                    known[dataset.compact()] = known[max(known)]
                case "tidy" if seen:
                    # Nothing is forgotten yet: a later batch may complete it.
                    known[dataset.tidy(10**15)] = known[max(known)]
            assert {version: dataset.fingerprint(version) for version in known} == known
        now = max(each.at_ms for each in seen.values()) + 1 if seen else T0
        known[dataset.tidy(0, now_ms=now)] = known[max(known)]
        assert {version: dataset.fingerprint(version) for version in known} == known
        assert [*dataset.reported()] == model(list(seen.values()))
