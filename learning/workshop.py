"""Sets up what a round works with, as the environment says."""

from __future__ import annotations

from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from contracts.errors import FatalError
from contracts.settings import load
from learning.dataset import Dataset
from learning.examples import read_examples
from learning.nightly import Policy, RoundSettings, Workshop, silent
from learning.settings import dataset_folder
from registry.folder import MANIFEST
from registry.registry import Registry
from router.masters import Masters
from router.rules import Rules
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PACKAGED = Path(str(files("registry").joinpath("seed")))
SEEDS = Path(str(files("learning").joinpath("seed/examples.jsonl")))


class Settings(Struct, frozen=True, kw_only=True):
    """What a round needs to know; all but the last are variables of workers, too.

    Attributes:
        policy: see `learning.nightly.RoundSettings`.
    """

    data_dir: str = field(name="CORTEX_DATA_DIR", default=".cortex")
    model_path: str | None = field(name="MODEL_PATH", default=None)
    masters_file: str | None = field(name="CORTEX_MASTERS", default=None)
    rules_file: str | None = field(name="CORTEX_RULES", default=None)
    encoder: str | None = field(name="CORTEX_ENCODER", default=None)
    policy: Policy = field(name="LEARNER_POLICY", default="even")


@contextmanager
def open_workshop(
    environ: Mapping[str, str], progress: Callable[[str, int, int], None] = silent
) -> Iterator[Workshop]:
    """Open what a round works with.

    Args:
        environ: see `Settings`.
        progress: told of steps: name, done, total.

    Raises:
        FatalError: a setting is malformed, `MODEL_PATH` is a single model, or a file is damaged.
    """
    settings = load(Settings, environ)
    root = Path(settings.model_path or Path(settings.data_dir, "models"))
    if (root / MANIFEST).exists():
        raise FatalError(f"MODEL_PATH names a single model, {root}; learning needs a registry")
    masters = Masters.parse(_text(settings.masters_file, "masters.toml"))
    encoder = open_encoder(settings.encoder)
    cache = Path(settings.data_dir, "embeddings.sqlite")
    with closing(CachedEncoder(encoder, cache)) as cached:
        yield Workshop(
            reported=Dataset(dataset_folder(settings.data_dir)).reported,
            registry=Registry(root),
            encoder=cached,
            masters=masters,
            rules=Rules.parse(_text(settings.rules_file, "rules.toml"), masters),
            seeds=read_examples(SEEDS),
            first=PACKAGED if (PACKAGED / MANIFEST).exists() else None,
            settings=RoundSettings(policy=settings.policy),
            progress=progress,
        )


def _text(path: str | None, default: str) -> str:
    try:
        return Path(path).read_text() if path else files("router").joinpath(default).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FatalError(f"cannot read {path}: {error}") from error
