from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import indexer.settings
import worker.settings
from contracts.errors import FatalError
from contracts.settings import load, redacted

if TYPE_CHECKING:
    from msgspec import Struct

WORKER = worker.settings.Settings
INDEXER = indexer.settings.Settings
POSITIVE = {
    WORKER: (
        "WORKER_BATCH",
        "WORKER_LEASE_MS",
        "WORKER_MAX_DELIVERIES",
        "WORKER_IDEMPOTENCY_S",
        "WORKER_CONTEXT_CHUNKS",
        "WORKER_CONTEXT_CHARS",
        "WORKER_DECISIONS_DAYS",
    ),
    INDEXER: (
        "MAX_FILE_BYTES",
        "INDEX_CHUNK_CHARS",
        "SNAPSHOT_EVERY_CHUNKS",
        "SNAPSHOT_INTERVAL_S",
        "RECONCILE_INTERVAL_S",
        "INDEXER_BATCH",
        "INDEXER_LEASE_MS",
        "INDEXER_MAX_DELIVERIES",
    ),
}
BOUNDS = [
    *(
        (kind, name, ("1", "1000"), ("0", "-1", "1.5", "many"))
        for kind, names in POSITIVE.items()
        for name in names
    ),
    *(
        (kind, f"{name}_HEALTH_PORT", ("0", "65535"), ("-1", "65536", "http"))
        for kind, name in ((WORKER, "WORKER"), (INDEXER, "INDEXER"))
    ),
    (WORKER, "AB_TEST_PERCENTAGE", ("0", "0.25", "1"), ("-0.01", "1.01", "25", "25%", "nan")),
    (WORKER, "ENABLE_NEURAL", ("true", "false", "1", "0"), ("yes", "2")),
    (WORKER, "ENABLE_RAG", ("true", "false", "1", "0"), ("yes", "2")),
]


def printed(kind: type[Struct], name: str, value: str) -> object:
    return redacted(load(kind, {name: value}))[name]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, name, good, _bad in BOUNDS for value in good],
)
def test_values_within_the_bounds_are_taken(kind: type[Struct], name: str, value: str) -> None:
    taken = printed(kind, name, value)

    assert taken == (value == "true" if value in {"true", "false"} else float(value))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, name, _good, bad in BOUNDS for value in bad],
)
def test_values_beyond_the_bounds_name_the_variable(
    kind: type[Struct], name: str, value: str
) -> None:
    with pytest.raises(FatalError, match=f"`{name}`") as caught:
        load(kind, {name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [WORKER, INDEXER])
def test_an_empty_variable_is_an_unset_one(kind: type[Struct]) -> None:
    names = redacted(load(kind, {})).keys()
    own_name = "WORKER_NAME" if kind is WORKER else "INDEXER_NAME"  # differs by process

    empty = redacted(load(kind, dict.fromkeys(names, "") | {own_name: "w"}))

    assert empty == redacted(load(kind, {own_name: "w"}))


@pytest.mark.parametrize("kind", [WORKER, INDEXER])
def test_variables_of_others_are_ignored(kind: type[Struct]) -> None:
    assert "PATH" not in redacted(load(kind, {"PATH": "/bin"}))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:secret@host:1/2", "redis://***@host:1/2"),
        ("rediss://:s:e@cret@host", "rediss://***@host"),
        ("redis://host?password=secret", "redis://host?***"),
        ("unix:///run/redis.sock?password=secret&db=1", "unix:///run/redis.sock?***"),
        ("redis+sentinel://:secret@a:1,b:2/service", "redis+sentinel://***@a:1,b:2/service"),
        # Not well-formed, or ambiguous: nothing of it is safe to show.
        ("redis://:sec/ret@host", "redis://***"),
        ("redis://:sec?ret@host", "redis://***"),
        ("redis://:sec#ret@host", "redis://***"),
        ("redis://host?password=sec@ret", "redis://***"),
        ("redis://:se\ncret@host", "redis://***@host"),
    ],
)
def test_no_credential_is_printed(url: str, shown: str) -> None:
    assert printed(WORKER, "REDIS_URL", url) == shown


def test_what_is_no_url_is_printed_as_it_is() -> None:
    assert printed(WORKER, "VECTORSTORE_PATH", "/srv/a@b?c") == "/srv/a@b?c"
