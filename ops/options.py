"""Options that several commands share, so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Store = Annotated[
    Path | None,
    typer.Option("--store", help="Default: $VECTORSTORE_PATH, or store in $CORTEX_DATA_DIR."),
]
