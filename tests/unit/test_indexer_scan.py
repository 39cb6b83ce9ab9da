from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from contracts.errors import TransientError
from indexer.scan import FileContent, Rules, Tree


def write(root: Path, path: str, content: str | bytes = "some text\n") -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode())


def listed(root: Path, under: str = "", rules: Rules | None = None) -> list[str]:
    return [path for path, _ in Tree(root, rules or Rules()).files(under)]


def read(root: Path, path: str, rules: Rules | None = None) -> FileContent | None:
    return Tree(root, rules or Rules()).read(path)


def test_lists_what_counts_in_stable_order(tmp_path: Path) -> None:
    for path in ("b.py", "a/z.py", "a/b/c.md", ".git/config", "x/.cortex/store/y", "lib.min.js"):
        write(tmp_path, path)

    assert sorted(listed(tmp_path)) == ["a/b/c.md", "a/z.py", "b.py"]
    assert listed(tmp_path) == listed(tmp_path)
    assert listed(tmp_path, "a/b") == ["a/b/c.md"]
    assert listed(tmp_path, "b.py") == ["b.py"]
    assert listed(tmp_path, "gone") == []


def test_a_gitignore_can_bring_back_what_is_left_out_by_default(tmp_path: Path) -> None:
    write(tmp_path, ".env.example")
    write(tmp_path, ".env")
    write(tmp_path, "lib.min.js")
    write(tmp_path, ".gitignore", "!lib.min.js\n")

    assert sorted(listed(tmp_path)) == [".env.example", ".gitignore", "lib.min.js"]


def test_of_a_lock_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    rules = Rules(max_bytes=100, max_chars=20)
    write(tmp_path, "sub/yarn.lock", "# yarn lockfile\nlodash 4\n" + "x\n" * 100)
    tree = Tree(tmp_path, rules)
    before = tree.read("sub/yarn.lock")
    assert before is not None
    assert before.text == "# yarn lockfile\n"
    write(tmp_path, "sub/yarn.lock", "# yarn lockfile\nlodash 5\n" + "y\n" * 100)
    assert tree.read("sub/yarn.lock") == before
    write(tmp_path, "go.sum", "é" * 40)
    unbroken = tree.read("go.sum")
    assert unbroken is not None
    assert unbroken.text == "é" * 10
    write(tmp_path, "Cargo.lock", "short")
    whole = tree.read("Cargo.lock")
    assert whole is not None
    assert whole.text == "short"
    assert listed(tmp_path) == ["Cargo.lock", "go.sum", "sub/yarn.lock"]


def test_reads_text_with_uniform_line_ends(tmp_path: Path) -> None:
    write(tmp_path, "a.py", b"\xef\xbb\xbfone\r\ntwo\rthree\n")

    content = read(tmp_path, "a.py")

    assert content is not None
    assert content.text == "one\ntwo\nthree\n"


def test_the_content_hash_depends_on_bytes_and_on_how_they_are_cut(tmp_path: Path) -> None:
    write(tmp_path, "a", "x")
    write(tmp_path, "b", "x")
    write(tmp_path, "c", "y")
    hashes = {name: read(tmp_path, name) for name in "abc"}

    assert hashes["a"] == hashes["b"] != hashes["c"]
    assert read(tmp_path, "a", Rules(max_chars=400)) != hashes["a"]


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x00\x01", b"\xff\xfe" * 50, b"x" * 101, "text".encode("utf-16")],
    ids=["nul", "not text", "oversized", "utf-16"],
)
def test_what_is_not_indexable_text_does_not_count(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "a.py", content)

    assert read(tmp_path, "a.py", Rules(max_bytes=100)) is None


def test_a_few_foreign_bytes_do_not_cost_the_file(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "# André\n".encode("latin-1") + b"x = 1\n" * 10)

    content = read(tmp_path, "a.py")

    assert content is not None
    assert content.text.startswith("# Andr\ufffd\n")


@pytest.mark.parametrize(
    "path",
    ["../secret", "a/../../secret", "/etc/hostname", "", ".", "a//b.py", "./a/b.py", "a/", "a\0b"],
)
def test_paths_never_leave_the_root(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    write(root, "a/b.py")
    write(tmp_path, "secret")

    assert read(root, path) is None
    assert path == "" or listed(root, path) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "a/b.py")
    write(tmp_path, "outside/secret.py")
    (root / "file").symlink_to(tmp_path / "outside/secret.py")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "inner").symlink_to("a")
    (root / "loop").symlink_to(".")
    (root / "self").symlink_to("self")

    assert listed(root) == ["a/b.py"]
    for path in ("file", "folder/secret.py", "inner/b.py", "loop/a/b.py", "self", "self/x"):
        assert read(root, path) is None
        assert listed(root, path) == []
    assert listed(root, "folder") == []


def test_special_files_neither_block_nor_count(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))

        assert listed(tmp_path) == []
        assert read(tmp_path, "fifo") is None
        assert read(tmp_path, "socket") is None


def test_names_that_are_not_text_are_skipped(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_text("x")
    write(tmp_path, "é.py")

    assert listed(tmp_path) == ["é.py"]


def test_a_file_behind_a_file_is_gone(tmp_path: Path) -> None:
    write(tmp_path, "a")

    assert read(tmp_path, "a/b") is None
    assert read(tmp_path, "x" * 300) is None


def test_a_missing_root_is_not_an_empty_tree(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="no directory"):
        Tree(tmp_path / "unmounted", Rules())


def test_a_name_that_no_change_can_hold_is_left_out_everywhere(tmp_path: Path) -> None:
    for name in ("new\nline.py", "back\\slash.py", "plain.py"):
        (tmp_path / name).write_text("x = 1\n")
    tree = Tree(tmp_path, Rules())
    assert [path for path, _ in tree.files()] == ["plain.py"]
    assert tree.read("new\nline.py") is None
