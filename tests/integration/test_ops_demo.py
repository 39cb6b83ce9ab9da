from __future__ import annotations

from typing import TYPE_CHECKING

from ops.demo_probe import measure_freshness
from ops.demo_report import Received, print_summary, summarise
from streams.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    import redis


def test_freshness_is_left_out_where_nothing_can_be_saved(
    redis_client: redis.Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a-file"
    file.touch()  # nothing can be saved below it, not even by root
    keys = Keys()
    freshness = measure_freshness(redis_client, keys, file, 3)
    assert freshness == []

    print_summary(summarise(redis_client, keys, [], Received(), freshness, 0.5))
    out, err = capsys.readouterr()
    assert "freshness is left out: cannot write to" in err
    assert "nan" not in out
