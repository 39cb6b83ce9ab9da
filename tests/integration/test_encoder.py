"""The encoder on the real model. The first run on a machine exports it, which takes a minute."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import FatalError
from vectors import exported
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from vectors.types import Encoder

pytestmark = pytest.mark.timeout(900)  # the export

CALIBRATION, CHECK = exported.texts()
MIXED = [
    "",
    "x",
    "Fix the login",
    "Überprüfe die Größe des Puffers 漢字 😀",
    *CHECK[:12],
    *(" ".join(["word"] * n) for n in (6, 7, 14, 15, 62, 63, 94, 95, 254, 255, 400)),
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return open_encoder()


@pytest.fixture(scope="module")
def alone(encoder: Encoder) -> dict[str, bytes]:
    return {text: encoder.encode([text]).tobytes() for text in MIXED}


# transformers warns about its own deprecated names.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_it_is_faithful_to_the_model_in_fp32(encoder: Encoder) -> None:
    reference = open_encoder(backend="torch")
    assert reference.dim == encoder.dim == 384
    assert reference.identity != encoder.identity
    assert reference.encode([]).shape == (0, 384)
    expected = reference.encode(CHECK)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-5)
    cosines = (encoder.encode(CHECK) * expected).sum(axis=1)
    assert cosines.mean() > 0.995
    assert cosines.min() > 0.97
    cut_off = [" ".join(CALIBRATION)]
    assert (encoder.encode(cut_off) * reference.encode(cut_off)).sum() > 0.97


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(MIXED), min_size=1, max_size=40))
def test_a_text_has_the_same_bytes_in_any_company(
    encoder: Encoder, alone: dict[str, bytes], texts: list[str]
) -> None:
    for text, vector in zip(texts, encoder.encode(texts), strict=True):
        assert vector.tobytes() == alone[text]


def test_a_second_encoder_and_a_second_thread_change_nothing(
    encoder: Encoder, alone: dict[str, bytes]
) -> None:
    other = open_encoder(threads=2)
    assert other.identity == encoder.identity
    for text, vector in zip(MIXED, other.encode(MIXED), strict=True):
        assert vector.tobytes() == alone[text]


def test_rows_are_float32_of_unit_length(encoder: Encoder) -> None:
    vectors = encoder.encode(
        [*MIXED, "\ud800 lone surrogate", "nul \0 inside", "\u202e", "a" * 999]
    )
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(MIXED) + 4, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_what_exceeds_the_model_is_cut_off(encoder: Encoder) -> None:
    longest = encoder.encode([" ".join(["word"] * 254)])
    assert encoder.encode([" ".join(["word"] * 20_000)]).tobytes() == longest.tobytes()
    assert encoder.encode([" ".join(["word"] * 253)]).tobytes() != longest.tobytes()


def test_meaning_is_nearer_than_wording(encoder: Encoder) -> None:
    query, near, far = encoder.encode(
        ["users cannot log in", "authentication is broken", "users can not draw logs"]
    )
    assert query @ near > query @ far


RUNTIME = """
import os, sys, threading, time
from vectors.encoder import open_encoder
encoder = open_encoder()
cpu = time.process_time()
before = encoder.encode(["hello", "there"]).tobytes()
child = os.fork()
if child == 0:
    os._exit(0 if encoder.encode(["hello", "there"]).tobytes() == before else 1)
assert os.waitpid(child, 0)[1] == 0, "a forked child must encode alike"
heavy = {"torch", "sentence_transformers", "transformers", "nncf", "openvino_telemetry"}
print(cpu, *sorted(name for name in heavy if sys.modules.get(name)))
"""


def test_loading_is_quick_and_silent_and_survives_a_fork(encoder: Encoder, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 # environment
    done = subprocess.run(
        [sys.executable, "-c", RUNTIME],
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": cache},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    cpu_seconds, *heavy = done.stdout.split()
    assert heavy == []
    assert float(cpu_seconds) < 2.5  # 0.8 on a quiet machine
    assert list(home.iterdir()) == []
    assert encoder.identity


TOGETHER = """
import sys, threading
from vectors.encoder import open_encoder
encoder = open_encoder(threads=4)
sys.setswitchinterval(1e-6)
begun = False
def encode():
    while not begun:
        pass
    encoder.encode(["hello"])
threads = [threading.Thread(target=encode, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
begun = True
for thread in threads:
    thread.join()
"""


def test_threads_that_begin_together_do_not_wait_for_each_other(encoder: Encoder) -> None:
    subprocess.run([sys.executable, "-c", TOGETHER], check=True, timeout=60)
    assert encoder.identity


def test_encoding_leaves_the_thread_free_to_run_on_any_core(encoder: Encoder) -> None:
    worker = threading.get_native_id()
    allowed, seen = os.sched_getaffinity(worker), set[frozenset[int]]()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(frozenset(os.sched_getaffinity(worker)))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(5):
            encoder.encode(MIXED)
    finally:
        done.set()
        looking.join()
    assert seen == {frozenset(allowed)}


def test_a_model_that_does_not_exist_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FatalError, match=r"^the encoder acme--none could not be exported: ") as why:
        open_encoder("acme/none", cache_dir=tmp_path)
    assert "acme/none cannot be loaded" in str(why.value)
    assert "\n" not in str(why.value)
