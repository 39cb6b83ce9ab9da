"""The rows of the matrix, one module per theme."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.matrix import Row

ROWS: tuple[Row, ...] = tuple(
    row
    for module in iter_modules(__path__)
    for row in import_module(f"{__name__}.{module.name}").ROWS
)
