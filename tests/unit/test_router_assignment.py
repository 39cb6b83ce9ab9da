from __future__ import annotations

import random

import numpy as np
import pytest
from growthbook.core import gbhash

from router.assignment import bucket, buckets

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz0123456789-",
    "".join(map(chr, range(0x21, 0x7F))),
    "aéß漢字язык🦀😀\u0000\ud800",
)


def oracle(experiment: str, unit: str) -> int:
    share = gbhash(experiment, unit, 2)
    assert share is not None
    return round(share * 10_000)


def random_ids(alphabet: str, count: int) -> list[str]:
    rng = random.Random(1)
    return ["".join(rng.choices(alphabet, k=rng.randint(0, 128))) for _ in range(count)]


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("experiment", ["router", "", "erprobung-ü"])
def test_agrees_with_growthbook(alphabet: str, experiment: str) -> None:
    ids = random_ids(alphabet, 2_000)
    expected = [oracle(experiment, unit) for unit in ids]
    assert buckets(experiment, ids).tolist() == expected
    assert [bucket(experiment, unit) for unit in ids[:200]] == expected[:200]


def test_shape_and_type_of_a_batch() -> None:
    assert buckets("router", []).shape == (0,)
    one = buckets("router", ["t-1"])
    assert one.shape == (1,)
    assert one.dtype == np.int32


def test_a_task_keeps_its_bucket_whatever_its_neighbours() -> None:
    alone = buckets("router", ["t-1"])[0]
    assert buckets("router", ["t-1", "x" * 128, "", "😀"])[0] == alone


def test_experiments_are_independent() -> None:
    ids = [f"task-{number}" for number in range(5_000)]
    both = (buckets("one", ids) < 5_000) & (buckets("two", ids) < 5_000)
    assert 0.22 < both.mean() < 0.28
