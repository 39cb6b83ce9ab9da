"""Opens an encoder: the exported int8 model for work, the fp32 model for reference."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import structlog

from contracts.errors import FatalError
from vectors import exported
from vectors.model_source import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from vectors.model_source import ModelSource, Side
    from vectors.types import Encoder

Backend = Literal["auto", "openvino", "torch"]
log = structlog.get_logger()


def open_encoder(
    model: str | None = None,
    *,
    backend: Backend = "auto",
    cache_dir: Path | None = None,
    threads: int = 1,
    side: Side = "query",
) -> Encoder:
    """Load an encoder; the first time a model is used, export it (about a minute).

    Args:
        model: a sentence-transformers folder, a name on the hub, or None for all-MiniLM-L6-v2.
        backend: `openvino` (int8; what `auto` means) or `torch` (fp32, the slow reference).
        cache_dir: folder of exports; by default `$XDG_CACHE_HOME/cortex/encoders`.
        threads: that may encode at a time. One per worker is best: start more workers instead.
        side: what the texts are. Where the model's configuration has prompts, one is put in front;
            vectors of both sides have one identity, as they are made to be compared.

    Raises:
        FatalError: packages are missing, or the model cannot be found, exported or trusted.
    """
    source = resolve(model)
    if backend == "torch":
        from vectors.torch_encoder import TorchEncoder, load_pipeline  # noqa: PLC0415 # heavy

        return TorchEncoder(source, load_pipeline(source, threads), side)
    from vectors.openvino_encoder import open_export  # noqa: PLC0415 # heavy

    return open_export(ensure_exported(source, cache_dir), threads, side)


def ensure_exported(source: ModelSource, cache_dir: Path | None = None) -> Path:
    """Give the folder of a model's export, making it first where there is none.

    Raises:
        FatalError: the export failed; its last line says why.
    """
    cache_dir = cache_dir or exported.default_cache_dir()
    folder = cache_dir / exported.folder_name(source.name)
    if folder.exists():
        return folder
    log.info("exporting the encoder, once; about a minute", model=source.name, folder=str(folder))
    done = subprocess.run(  # noqa: S603 # our own module, arguments passed as they are
        [
            sys.executable,
            "-P",
            "-m",
            "vectors.export",
            source.name,
            source.location,
            str(cache_dir),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        msg = f"the encoder {source.name} could not be exported: {reason}"
        raise FatalError(msg)
    log.info("encoder exported", model=source.name)
    return folder
