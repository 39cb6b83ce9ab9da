"""An exported model on disk: where it is, what its manifest says, whether it can be trusted."""

from __future__ import annotations

import hashlib
import os
from importlib.resources import files
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts.errors import FatalError
from vectors import batching
from vectors.model_source import Side

_MANIFEST = "manifest.json"
MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "model.xml", "model.bin", "tokenizer.json"
_FORMAT = 1
# The default model reaches .997 and .98; an export that lost more would change what is found.
LEAST_MEAN, LEAST_WORST = 0.99, 0.95
_HELD_OUT = 8  # every eighth text checks, the others calibrate


class Manifest(Struct, frozen=True, kw_only=True):
    """What an export is.

    Attributes:
        model: `ModelSource.name`.
        recipe: `recipe()` of the code that wrote it.
        dim: width of a vector.
        max_tokens: longer texts are cut to this many tokens, special ones included.
        files: name of each file -> SHA-256 of its bytes, hex.
        prompts: what the model wants in front of a text, by `Side`; a side that is left out wants
            nothing.
        fidelity_mean: mean cosine to the fp32 model over the check texts.
        fidelity_min: the worst of them.
        built_with: versions of the packages that made it.
    """

    model: str
    recipe: str
    dim: int
    max_tokens: int
    files: dict[str, str]
    prompts: dict[Side, str] = {}
    fidelity_mean: float
    fidelity_min: float
    built_with: dict[str, str]

    @property
    def identity(self) -> str:
        """Model, backend, recipe and a digest of the exported files, and of prompts if any."""
        decisive = msgspec.json.encode(self.files, order="sorted")
        if self.prompts:
            decisive += msgspec.json.encode(self.prompts, order="sorted")
        digest = hashlib.sha256(decisive).hexdigest()
        return f"{self.model}:openvino-int8:{self.recipe}:{digest[:12]}"


def recipe() -> str:
    """Digest of everything of ours that decides an export's vectors."""
    parts = repr(
        (_FORMAT, _HELD_OUT, batching.FINE_STEP, batching.FINE_LIMIT, batching.COARSE_STEP)
    )
    return hashlib.sha256(parts.encode() + _texts_file()).hexdigest()[:8]


def texts() -> tuple[list[str], list[str]]:
    """Texts to calibrate with, and others to check the result on."""
    every = [msgspec.json.decode(line, type=str) for line in _texts_file().splitlines()]
    check = every[_HELD_OUT - 1 :: _HELD_OUT]
    return [text for n, text in enumerate(every, 1) if n % _HELD_OUT], check


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/cortex/encoders` (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "cortex/encoders"


def folder_name(model: str) -> str:
    """Name of the folder for an export of a model by this version of the code."""
    return f"{model}-openvino-int8-{recipe()}"


def sha256(path: Path) -> str:
    """Hash a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into the export's folder."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / _MANIFEST).write_bytes(text)


def read_manifest(folder: Path) -> Manifest:
    """Read what an export says of itself.

    Raises:
        OSError: there is none.
        msgspec.DecodeError: it is not a manifest.
    """
    return msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)


def read_verified(folder: Path) -> Manifest:
    """Read the manifest and check every file against it.

    Raises:
        FatalError: something is missing or changed, or the export is not faithful to its model.
    """
    try:
        manifest = read_manifest(folder)
        expected = {MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE}
        changed = expected.symmetric_difference(manifest.files) | {
            name for name, digest in manifest.files.items() if sha256(folder / name) != digest
        }
    except (OSError, msgspec.DecodeError) as error:
        msg = f"encoder export {folder} is damaged ({error}): delete the folder to export anew"
        raise FatalError(msg) from error
    if changed:
        names = ", ".join(sorted(changed))
        msg = f"encoder export {folder} is damaged ({names}): delete the folder to export anew"
        raise FatalError(msg)
    check_fidelity(manifest)
    return manifest


def check_fidelity(manifest: Manifest) -> None:
    """Raise where an export is too far from the model it was made of.

    Raises:
        FatalError: the mean or the worst cosine is too low.
    """
    mean, worst = manifest.fidelity_mean, manifest.fidelity_min
    if not (mean >= LEAST_MEAN and worst >= LEAST_WORST):
        msg = (
            f"encoder export of {manifest.model} is not faithful to it: cosine {mean:.4f} on"
            f" average, {worst:.4f} at worst; at least {LEAST_MEAN} and {LEAST_WORST} are needed"
        )
        raise FatalError(msg)


def _texts_file() -> bytes:
    return files("vectors").joinpath("calibration.jsonl").read_bytes()
