from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from corpus import DIM, put, removal, vector

from vectors.collection import Collection
from vectors.graph import RELATED, Graph, Neighbourhood
from vectors.memory import HISTORY, change, change_path
from vectors.snapshot import write_snapshot
from vectors.types import FileDelta

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "src/shop/__init__.py": "from .cart import Cart\n",
    "src/shop/cart.py": "from shop.prices import total\nfrom . import log\n",
    "src/shop/prices.py": "import decimal\n",
    "src/shop/log.py": "import logging\n",
    "tests/test_cart.py": "import shop\nfrom shop.cart import Cart\n",
    "web/cart.js": "import {total} from './prices.js'\n",
    "web/prices.js": "export const total = 1\n",
}


def filled(files: dict[str, str] = FILES) -> Collection:
    collection = Collection.empty("code", DIM, "test")
    for path, text in files.items():
        collection.apply(put(path, 1, text))
    return collection


def work(number: int, *paths: str) -> FileDelta:
    chunk = change(f"work {number}", paths)
    return FileDelta(
        path=change_path("2026-11-01", str(number)),
        version=1,
        content_hash="h",
        chunks=[chunk],
        vectors=vector(chunk.text).astype("<f2").tobytes(),
    )


@pytest.fixture
def history() -> Collection:
    made = Collection.empty("code" + HISTORY, DIM, "test")
    for number in range(2):
        made.apply(work(number, "src/shop/cart.py", "web/cart.js"))
    made.apply(work(2, "src/shop/cart.py", "src/shop/log.py"))
    return made


def test_each_kind_of_neighbour(history: Collection) -> None:
    graph = Graph(filled(), history)
    assert graph.around("src/shop/cart.py") == Neighbourhood(
        imports=("src/shop/__init__.py", "src/shop/log.py", "src/shop/prices.py"),
        imported_by=("src/shop/__init__.py", "tests/test_cart.py"),
        tests=("tests/test_cart.py",),
        changed_with=("web/cart.js",),  # once is no habit
    )
    assert graph.around("web/cart.js").imports == ("web/prices.js",)
    assert graph.around("tests/test_cart.py").tests == ("src/shop/cart.py",)
    assert graph.around("nowhere.py") == Neighbourhood()


def test_what_is_related_is_the_best_of_every_kind(history: Collection) -> None:
    related = Graph(filled(), history).around("src/shop/cart.py").related()
    assert related[0] == "web/cart.js"
    assert set(related[1:3]) == {"tests/test_cart.py", "src/shop/__init__.py"}
    assert len(related) == len(set(related)) <= RELATED
    many = Neighbourhood(imports=tuple(f"{n}.py" for n in range(20)))
    assert many.related() == [f"{n}.py" for n in range(RELATED)]


def test_the_graph_follows_what_changes(history: Collection) -> None:
    collection = filled()
    graph = Graph(collection, history)
    graph.around("src/shop/prices.py")
    collection.apply(put("src/shop/tax.py", 1, "from .prices import total\n"))
    assert "src/shop/tax.py" in graph.around("src/shop/prices.py").imported_by
    collection.apply(put("src/shop/tax.py", 2, "import math\n"))
    collection.apply(removal("src/shop/log.py", 2))
    assert graph.around("src/shop/prices.py").imported_by == ("src/shop/cart.py",)
    assert "src/shop/log.py" not in graph.around("src/shop/cart.py").imports
    history.apply(work(3, "src/shop/prices.py", "web/prices.js"))
    history.apply(work(4, "src/shop/prices.py", "web/prices.js"))
    assert graph.around("src/shop/prices.py").changed_with == ("web/prices.js",)


def test_followed_or_made_anew_from_base_or_delta_it_is_the_same(
    tmp_path: Path, history: Collection
) -> None:
    drawn = random.Random(7)
    paths = [*FILES, "src/shop/a.py", "lib/b.py"]
    texts = [*FILES.values(), "from shop import a, cart\nimport lib.b\n", ""]
    write_snapshot(filled(), tmp_path, token=1)
    collection = Collection.open(tmp_path, "code")
    graph = Graph(collection, history)
    for version in range(2, 60):
        path = drawn.choice(paths)
        gone = drawn.random() < 0.3
        texts_now = [drawn.choice(texts)]
        collection.apply(removal(path, version) if gone else put(path, version, *texts_now))
        if version == 30:
            write_snapshot(collection, tmp_path, token=2)
            assert collection.reload_if_newer(tmp_path)
        asked = drawn.sample(paths, 3)
        fresh = Graph(collection, history)
        assert [graph.around(each) for each in asked] == [fresh.around(each) for each in asked]
    write_snapshot(collection, tmp_path, token=3)
    reopened = Graph(Collection.open(tmp_path, "code"), history)
    for path in paths:
        assert reopened.around(path) == graph.around(path)


def test_what_is_large_is_read_beside_and_then_is_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, history: Collection
) -> None:
    for each in (filled(), history):
        write_snapshot(each, tmp_path, token=1)
    opened = Collection.open(tmp_path, "code"), Collection.open(tmp_path, "code" + HISTORY)
    at_once = Graph(*opened)
    expected = [at_once.around(path) for path in FILES]
    monkeypatch.setattr("vectors.graph._AT_ONCE", 0)
    beside = Graph(*opened)
    beside.settle()
    assert [beside.around(path) for path in FILES] == expected
    assert any(beside.around(path).changed_with for path in FILES)
    opened[0].apply(put("src/shop/tax.py", 1, "from .prices import total\n"))
    assert "src/shop/tax.py" in beside.around("src/shop/prices.py").imported_by
    assert "src/shop/prices.py" in beside.around("src/shop/tax.py").imports
