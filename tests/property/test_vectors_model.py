"""Whatever happens to a collection, it holds what a plain dict would, and finds it alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from corpus import DIM, WORDS, put, removal, vector
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from vectors.collection import Collection
from vectors.snapshot import write_snapshot
from vectors.types import FileDelta, FileState

PATHS = ("src/session.py", "src/cache.py", "ui/button.tsx", "docs/deploy.md")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
QUERIES = ("session login", "render the button style", "cache", "migrate schema and deploy it")


class CollectionMachine(RuleBasedStateMachine):
    """Puts, removals, replays and late arrivals between snapshots, reloads and reopenings."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Path(self.folder.name)
        self.collection = Collection.empty("code", DIM, "test")
        self.model: dict[str, FileDelta] = {}
        self.sent: list[FileDelta] = []
        self.token = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def send(self, delta: FileDelta) -> None:
        known = self.model.get(delta.path)
        newer = known is None or delta.version > known.version
        assert self.collection.apply(delta) is newer
        if newer:
            self.model[delta.path] = delta
        self.sent.append(delta)

    @rule(
        path=st.sampled_from(PATHS), version=st.integers(1, 30), texts=st.lists(TEXTS, max_size=3)
    )
    def put(self, path: str, version: int, texts: list[str]) -> None:
        self.send(put(path, version, *texts))

    @rule(path=st.sampled_from(PATHS), version=st.integers(1, 30))
    def remove(self, path: str, version: int) -> None:
        self.send(removal(path, version))

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        if self.sent:
            self.send(data.draw(st.sampled_from(self.sent)))

    @rule()
    def snapshot(self) -> None:
        self.token += 1
        info = write_snapshot(self.collection, self.store, token=self.token)
        assert info.chunks == self.collection.chunk_count
        assert info.files == len(self.collection.files())

    @rule()
    def snapshot_and_reload(self) -> None:
        self.snapshot()
        assert self.collection.reload_if_newer(self.store)
        assert self.collection.delta_size == 0

    @rule()
    def snapshot_and_reopen(self) -> None:
        self.snapshot()
        self.collection = Collection.open(self.store, "code", embedder="test")

    @invariant()
    def files_are_those_of_the_model(self) -> None:
        live = {path: delta for path, delta in self.model.items() if not delta.removed}
        assert self.collection.files() == {
            path: FileState(delta.version, delta.content_hash) for path, delta in live.items()
        }
        assert self.collection.chunk_count == sum(len(delta.chunks) for delta in live.values())

    @invariant()
    def live_chunks_are_those_of_the_model(self) -> None:
        live = [
            (segment.path(int(segment.columns.file[number])), segment.chunks([number])[0])
            for segment in self.collection.freeze().segments
            for number in np.flatnonzero(segment.alive).tolist()
        ]
        expected = [(path, chunk) for path, delta in self.model.items() for chunk in delta.chunks]
        assert sorted(live, key=repr) == sorted(expected, key=repr)

    @invariant()
    def every_chunk_leads_to_its_file_and_to_nothing_else(self) -> None:
        for path, delta in self.model.items():
            for chunk in delta.chunks:
                hits = self.collection.search(chunk.text, vector(chunk.text), k=50)
                assert any(hit.path == path for hit in hits)
                assert all(
                    any(hit.text == known.text for known in self.model[hit.path].chunks)
                    for hit in hits
                )

    @invariant()
    def results_are_those_of_a_rebuild(self) -> None:
        rebuilt = Collection.empty("code", DIM, "test")
        for delta in self.model.values():
            rebuilt.apply(delta)
        for query in QUERIES:
            expected = rebuilt.search(query, vector(query), k=50)
            found = self.collection.search(query, vector(query), k=50)
            assert [(hit.path, hit.start_line, hit.text) for hit in found] == [
                (hit.path, hit.start_line, hit.text) for hit in expected
            ]
            assert [hit.score for hit in found] == pytest.approx(
                [hit.score for hit in expected], abs=2e-5
            )


def test_a_collection_behaves_like_a_dict() -> None:
    bounded = settings(max_examples=25, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(CollectionMachine, settings=bounded)
