"""What is asked of a collection, asked of every engine that keeps one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from corpus import DIM, put, removal, vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_engine import query_engine

from contracts.errors import FatalError, TransientError
from streams.connect import connect

# Borrowed, so that there is one wording of what a collection is; the fixture below is theirs too.
from tests.unit.test_vectors_collection import (  # noqa: F401 - collected here as well
    test_a_file_without_chunks_is_a_file,
    test_a_gap_is_refused_and_leaves_everything_as_it_was,
    test_a_refused_delta_leaves_no_trace,
    test_a_removed_file_is_not_brought_back_by_a_late_put,
    test_a_search_sees_a_file_before_or_after_a_change_but_never_between,
    test_an_older_or_equal_version_changes_nothing,
    test_generation_and_position_follow_the_log,
)
from vectors.collection import Collection
from vectors.log import LogEntry, OtherEncoder
from vectors.memory import change, retrieve
from vectors.query_engine import EngineCollection
from vectors.snapshot import write_snapshot
from vectors.types import FileDelta, LogPosition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    Make = Callable[..., Collection | EngineCollection]

TREE = (
    put("src/auth/login.py", 1, "def login(user): check the password", "def logout(session): end"),
    put("src/http/parse.py", 1, "def parseHTTPHeader(line): split the header line"),
    put("tests/test_login.py", 1, "def test_login(): login works"),
    put("docs/deploy.md", 1, "how to deploy the service"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with query_engine(tmp_path_factory.mktemp("engine")) as running:
        client = connect(running.url)
        yield client
        client.close()


@pytest.fixture(params=["embedded", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes an empty collection, of one tenant unless told otherwise."""
    if request.param == "embedded":
        return lambda name="code", **_: Collection.empty(name, DIM, "test")
    client: Redis = request.getfixturevalue("server")
    client.flushall()

    def made(name: str = "code", prefix: str = "") -> EngineCollection:
        return EngineCollection(client, name, prefix=prefix, embedder="test", dim=DIM)

    return made


@pytest.fixture
def collection(make: Make) -> Collection | EngineCollection:
    return make()


def fill(collection: Collection | EngineCollection) -> None:
    for delta in TREE:
        collection.apply(delta)


def found(
    collection: Collection | EngineCollection, text: str, *, words: bool = False
) -> list[str]:
    return [hit.path for hit in collection.search(text, None if words else vector(text))]


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("header", "src/http/parse.py"),
        ("parsing", "src/http/parse.py"),
        ("logout", "src/auth/login.py"),
        ("deploying services", "docs/deploy.md"),
    ],
)
def test_words_are_found_by_stem_by_part_and_by_path(
    collection: Collection | EngineCollection, text: str, best: str
) -> None:
    fill(collection)
    assert found(collection, text, words=True)[0] == best


def test_a_hit_says_where_it_is_and_what_it_says(
    collection: Collection | EngineCollection,
) -> None:
    fill(collection)
    hit = collection.search("logout", None)[0]
    assert (hit.collection, hit.path, hit.start_line, hit.end_line, hit.kind) == (
        "code",
        "src/auth/login.py",
        11,
        20,
        "code",
    )
    assert hit.text == "def logout(session): end"
    assert 0 < hit.score <= 1


def test_vectors_are_found_where_no_word_is(collection: Collection | EngineCollection) -> None:
    fill(collection)
    towards = vector("how to deploy the service")
    assert collection.search("zzz", towards)[0].path == "docs/deploy.md"


def test_what_was_replaced_or_removed_is_not_found(
    collection: Collection | EngineCollection,
) -> None:
    fill(collection)
    collection.apply(put("docs/deploy.md", 2, "how to render a button"))
    collection.apply(removal("src/http/parse.py", 2))

    assert found(collection, "deploy the service", words=True) == ["docs/deploy.md"]  # by its path
    assert found(collection, "button")[0] == "docs/deploy.md"
    assert found(collection, "header", words=True) == []
    assert collection.chunk_count == 4
    assert not collection.holds("src/http/parse.py")


def test_text_is_found_before_its_vectors_are_there(
    collection: Collection | EngineCollection,
) -> None:
    early = put("a.py", 1, "login")
    collection.apply(
        FileDelta(
            path=early.path,
            version=1,
            content_hash="",
            chunks=early.chunks,
            vectors=b"",
        )
    )
    assert found(collection, "login") == ["a.py"]


def test_k_bounds_the_hits_and_files_come_before_second_places(
    collection: Collection | EngineCollection,
) -> None:
    for number in range(8):
        collection.apply(put(f"{number}.py", 1, "login here", "login there"))
    hits = collection.search("login", vector("login"), 5)
    assert len({hit.path for hit in hits}) == len(hits) == 5
    assert collection.search("login", vector("login"), 0) == []


def test_vectors_of_another_width_or_encoder_are_refused(
    collection: Collection | EngineCollection,
) -> None:
    with pytest.raises(FatalError):
        collection.search("login", np.ones(DIM + 1, np.float32))
    entry = LogEntry(
        position=LogPosition("log", 1, "1-0"), before="0-0", embedder="other", delta=TREE[0]
    )
    with pytest.raises(OtherEncoder):
        collection.apply_entry(entry)


def test_collections_and_tenants_are_not_mixed(make: Make) -> None:
    code, docs, theirs = make("code"), make("docs"), make("code", prefix="them:")
    code.apply(put("a.py", 1, "login of the code"))
    docs.apply(put("b.md", 1, "login of the manual"))
    theirs.apply(put("c.py", 1, "login of somebody else", "and more"))

    assert found(code, "login") == ["a.py"]
    assert found(docs, "login") == ["b.md"]
    assert found(theirs, "login")[0] == "c.py"
    assert (code.chunk_count, theirs.chunk_count) == (1, 2)


def test_what_similar_work_touched_comes_first(make: Make) -> None:
    code, history = make("code"), make("code-history")
    fill(code)
    for number in range(3):
        said = change("speed up the checkout", ["docs/deploy.md", "gone.py"])
        history.apply(
            FileDelta(
                path=f"2026-11-2{number}/{number}",
                version=1,
                content_hash="x",
                chunks=[said],
                vectors=vector(said.embedded_text).astype("<f2").tobytes(),
            )
        )
    text = "speed up the checkout"
    hits = retrieve(code, history, [text], vector(text)[np.newaxis])[0]
    assert hits[0].path == "docs/deploy.md"
    assert "gone.py" not in {hit.path for hit in hits}


def test_a_number_that_stands_nowhere_makes_a_text_fit_no_worse(make: Make) -> None:
    history = make("code-history")
    said = change("speed up the checkout", ["docs/deploy.md"])
    put_said = FileDelta(
        path="2026-11-20/1",
        version=1,
        content_hash="x",
        chunks=[said],
        vectors=vector(said.embedded_text).astype("<f2").tobytes(),
    )
    history.apply(put_said)
    texts = ["speed up the checkout", "speed up the checkout 3113", "speed up the checkout ocean"]
    bare, numbered, foreign = (each.strength for each in history.similar_work(texts, None, 5))
    assert bare == numbered > foreign


def test_a_snapshot_fills_an_empty_collection_and_is_followed_on(
    make: Make, tmp_path: Path
) -> None:
    source = Collection.empty("code", DIM, "test")
    entries = [
        LogEntry(
            position=LogPosition("log", at, f"{at}-0"),
            before=f"{at - 1}-0",
            embedder="test",
            delta=delta,
        )
        for at, delta in enumerate([*TREE, removal("docs/deploy.md", 2)], 1)
    ]
    for entry in entries[:-1]:
        source.apply_entry(entry)
    write_snapshot(source, tmp_path, token=1)
    collection = make()

    assert collection.reload_if_newer(tmp_path)
    assert not collection.reload_if_newer(tmp_path)
    assert collection.states() == source.states()
    assert collection.position == source.position
    assert found(collection, "header") == found(source, "header")
    assert collection.apply_entry(entries[-1])
    assert found(collection, "deploy", words=True) == []


@pytest.mark.parametrize(
    ("named", "best"),
    [
        ("fabapurifa", ["money.md"]),
        ("FABAPURIFA", ["money.md"]),
        ("parse_retry_after", ["retry.py"]),
        ("parseRetryAfter", ["retry.py"]),
        ("weather", []),
        ("retry_money", []),
        ("gebapurilo", []),
    ],
)
def test_what_a_text_names_is_context_whatever_else_it_says(
    collection: Collection | EngineCollection, named: str, best: list[str]
) -> None:
    for number in range(300):
        collection.apply(put(f"{number}.py", 1, f"what people know of number {number}"))
    collection.apply(put("money.md", 1, "how money is made of the fabapurifa"))
    collection.apply(put("retry.py", 1, "def parse_retry_after(header): when to ask again"))
    text = f"calibrate the {named} procedure"
    hits = retrieve(collection, None, [text], np.zeros((1, DIM), np.float32))[0]
    assert [hit.path for hit in hits][:1] == best


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.py", "b.py", "c.py"]),
            st.integers(1, 6),
            st.lists(st.sampled_from(["login", "token", "parse header"]), max_size=3),
        ),
        max_size=12,
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_engines_agree_after_any_changes(
    server: Redis, changes: list[tuple[str, int, list[str]]]
) -> None:
    server.flushall()
    ours = Collection.empty("code", DIM, "test")
    theirs = EngineCollection(server, "code", prefix="", embedder="test", dim=DIM)
    for path, version, texts in changes:
        delta = put(path, version, *texts) if texts else removal(path, version)
        assert ours.apply(delta) == theirs.apply(delta)

    assert theirs.states() == ours.states()
    assert theirs.chunk_count == ours.chunk_count
    for text in ("login", "parse"):
        for vectors in (None, vector(text)):
            expected = [(hit.path, hit.start_line) for hit in ours.search(text, vectors)]
            assert [(hit.path, hit.start_line) for hit in theirs.search(text, vectors)] == expected


def test_processes_that_apply_the_same_log_do_each_entry_once(server: Redis) -> None:
    server.flushall()
    first, second = (
        EngineCollection(server, "code", prefix="", embedder="test", dim=DIM) for _ in range(2)
    )
    entry = LogEntry(
        position=LogPosition("log", 1, "1-0"), before="0-0", embedder="test", delta=TREE[0]
    )
    assert first.apply_entry(entry)
    assert not second.apply_entry(entry)
    assert second.position == first.position
    assert second.chunk_count == len(TREE[0].chunks)


def test_a_server_without_the_engine_is_one_clear_line(redis_url: str) -> None:
    client = connect(redis_url)
    with pytest.raises(FatalError, match="no Redis Query Engine at hand"):
        EngineCollection(client, "code", prefix="", embedder="test", dim=DIM)


def test_a_server_that_is_gone_is_no_crash(tmp_path: Path) -> None:
    with query_engine(tmp_path) as running:
        client = connect(running.url)
        collection = EngineCollection(client, "code", prefix="", embedder="test", dim=DIM)
    with pytest.raises(TransientError):
        collection.search("login", None)
