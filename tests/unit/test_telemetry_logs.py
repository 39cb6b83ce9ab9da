from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import FatalError
from telemetry.logs import configure

ROOT = Path(__file__).parents[2]


def logged(level: str, *lines: str) -> list[dict[str, Any]]:
    """What a process of its own logs: the configuration is one for a whole process."""
    program = "\n".join(
        (
            "import structlog",
            "from telemetry.logs import configure",
            f"configure('test', {level!r})",
            "log = structlog.get_logger()",
            *lines,
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b""
    assert done.stderr.endswith(b"\n") or not done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_one_json_object() -> None:
    before = datetime.now(UTC)
    (line,) = logged("info", r"log.info('two\nlines', number=1, text='ü\u2028')")

    assert before <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert line == {
        "event": "two\nlines",
        "level": "info",
        "process": "test",
        "number": 1,
        "text": "ü\u2028",
    }


def test_an_exception_stays_on_the_line_of_its_event() -> None:
    (line,) = logged(
        "info",
        "try:",
        "    raise ValueError('first\\nsecond')",
        "except ValueError:",
        "    log.exception('failed')",
    )

    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: first\nsecond")


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_less_than_the_level_is_not_written(level: str, written: list[str]) -> None:
    lines = logged(level, *(f"log.{name}('x')" for name in ("debug", "info", "warning", "error")))

    assert [line["level"] for line in lines] == written


def test_an_unknown_level_is_said_in_one_line() -> None:
    with pytest.raises(FatalError, match=r"^LOG_LEVEL is 'loud', not one of debug, info, "):
        configure("test", "loud")
