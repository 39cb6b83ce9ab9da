from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from cortex_program import ROOT, cortex, succeed
from indexer_trees import HashEncoder, open_indexer, put, write

from indexer.build import build_store
from indexer.reconcile import Report

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis


NOWHERE = "redis://127.0.0.1:1"
QUERY = "how does a consumer renew its lease"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of this repository's own queue code."""
    output = tmp_path_factory.mktemp("store")
    built = cortex(
        NOWHERE, "index", "build", "--source", str(ROOT / "streams"), "--output", str(output)
    )
    assert built.returncode == 0, built.stderr
    assert built.stdout.count("\n") == 1
    return output


def test_search_prints_the_contracted_shape(store: Path) -> None:
    printed = succeed(NOWHERE, "search", QUERY, "--store", str(store), "-k", "3", "--json")
    found = json.loads(printed)
    assert list(found) == ["query", "results", "took_ms"]
    assert found["query"] == QUERY
    assert 1 <= len(found["results"]) <= 3
    assert "consumer.py" in [hit["path"] for hit in found["results"]]
    for hit in found["results"]:
        assert set(hit) == {
            *("collection", "path", "start_line", "end_line"),
            *("symbol", "kind", "text", "score", "related"),
        }
    scores = [hit["score"] for hit in found["results"]]
    assert scores == sorted(scores, reverse=True)


def test_queries_answer_line_by_line(store: Path) -> None:
    lines = f'{{"id": [7], "query": "{QUERY}"}}\n\n{{"query": "trim a stream"}}\n'
    done = cortex(NOWHERE, "search", "--queries", "-", "--store", str(store), stdin=lines)
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert (first["id"], first["query"]) == ([7], QUERY)
    assert "id" not in second
    bad = cortex(NOWHERE, "search", "--queries", "-", "--store", str(store), stdin='{"q": 1}')
    assert bad.returncode == 1
    assert bad.stderr.startswith("cortex: standard input, line 1: ")


def test_the_graph_shows_what_stands_around_each_place(store: Path) -> None:
    printed = succeed(NOWHERE, "search", QUERY, "--store", str(store), "--graph", "--json")
    places = json.loads(printed)["results"]
    kinds = ["imports", "imported_by", "tests", "changed_with"]
    assert all(list(place["graph"]) == kinds for place in places)
    for place in places:
        around = {path for paths in place["graph"].values() for path in paths}
        assert set(place["related"]) <= around
        assert place["path"] not in around


def test_issues_are_found_beside_code(store: Path, tmp_path: Path) -> None:
    both = tmp_path / "store"
    shutil.copytree(store, both)
    file = tmp_path / "issues.jsonl"
    file.write_text('{"id": 12, "title": "Umbrella colours are wrong", "body": "they fade"}\n')
    command = ("index", "issues", "--file", str(file), "--output", str(both))
    assert succeed(NOWHERE, *command).startswith("1 issues, 1 chunks in ")
    printed = succeed(NOWHERE, "search", "umbrella colours", "--store", str(both), "--json")
    best = json.loads(printed)["results"][0]
    assert (best["collection"], best["path"], best["kind"]) == ("issues", "12", "issue")
    assert "issues: 12:1-" in succeed(NOWHERE, "search", "umbrella lease", "--store", str(both))
    file.write_text('{"id": 12}\n')
    refused = cortex(NOWHERE, *command)
    assert refused.returncode == 1
    assert f"{file}, line 1: " in refused.stderr


def test_a_master_searches_its_own_collections(store: Path, tmp_path: Path) -> None:
    masters = tmp_path / "masters.toml"
    masters.write_text(
        'fallback = "a"\n[[master]]\nname = "a"\ndescription = "x"\n'
        'prefer = [{weight = 4.0, paths = ["*.lua"]}]\n'
        '[[master]]\nname = "b"\ndescription = "x"\ncollections = ["elsewhere"]\n'
    )

    def found(master: str) -> list[str]:
        command = ("search", QUERY, "--store", str(store), "--master", master, "--json")
        done = cortex(NOWHERE, *command, CORTEX_MASTERS=str(masters))
        assert done.returncode == 0, done.stderr
        return [place["path"] for place in json.loads(done.stdout)["results"]]

    assert found("a")[0].endswith(".lua")
    assert found("b") == []
    done = cortex(NOWHERE, "search", QUERY, "--store", str(store), "--master", "c")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no master c; there are " in done.stderr


def test_search_for_people(store: Path) -> None:
    assert "consumer.py:" in succeed(NOWHERE, "search", QUERY, "--store", str(store))


def test_the_default_store_is_the_environments(store: Path) -> None:
    done = cortex(NOWHERE, "search", QUERY, "--json", VECTORSTORE_PATH=str(store))
    assert json.loads(done.stdout)["results"]


def test_without_a_store_the_way_to_one_is_named(tmp_path: Path) -> None:
    for command in (["search", "x"], ["index", "status"], ["index", "verify"]):
        done = cortex(NOWHERE, *command, "--store", str(tmp_path))
        assert (done.returncode, done.stdout) == (1, "")
        assert f"cortex index build --source . --output {tmp_path}" in done.stderr


def test_status_and_verify(store: Path, redis_client: Redis, redis_url: str) -> None:
    redis_client.ping()
    printed = succeed(redis_url, "index", "status", "--store", str(store), "--json")
    status, *_history = json.loads(printed)  # where the sources lie in a clone
    assert (status["collection"], status["lag"]) == ("code", None)
    assert status["files"] > 10
    assert status["chunks"] > status["files"]
    verified = succeed(redis_url, "index", "verify", "--store", str(store)).splitlines()
    assert verified[0] == "code: ok"
    assert set(verified) <= {"code: ok", "code-history: ok"}


def test_verify_finds_damage(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    (copy / "code").mkdir(parents=True)
    manifest = (store / "code" / "manifest.json").read_bytes()
    (copy / "code" / "manifest.json").write_bytes(manifest)
    done = cortex(NOWHERE, "index", "verify", "--store", str(copy))
    assert done.returncode == 1
    assert done.stderr == "cortex: damaged: code; run cortex index build\n"


def test_reconcile_publishes_what_is_missing(
    redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    printed = succeed(redis_url, "index", "reconcile", "--source", str(tmp_path), "--json")
    assert json.loads(printed) == {"current": 0, "missing": 1, "stale": 0, "extra": 0}
    assert set(json.loads(printed)) == set(Report.__struct_fields__)
    ((_id, fields),) = redis_client.xrange("files")
    assert (fields[b"op"], fields[b"path"]) == (b"put", b"a.py")


def test_reconcile_knows_what_only_the_snapshot_holds(
    redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write(root, "a.py", "a = 1\n")
    build_store(root, store, HashEncoder())
    write(root, "b.py", "b = 1\n")
    list(open_indexer(redis_client, root, store).apply(put("b.py")))
    write(root, "c.py", "c = 1\n")

    done = cortex(
        redis_url,
        "index",
        "reconcile",
        "--source",
        str(root),
        "--json",
        VECTORSTORE_PATH=str(store),
    )
    assert json.loads(done.stdout) == {"current": 2, "missing": 1, "stale": 0, "extra": 0}


def test_route_attaches_context_from_the_store(store: Path) -> None:
    done = cortex(NOWHERE, "route", QUERY, "--json", VECTORSTORE_PATH=str(store))
    decision = json.loads(done.stdout)
    assert decision["context_status"] == "ok"
    assert "consumer.py" in [item["path"] for item in decision["context"]]
