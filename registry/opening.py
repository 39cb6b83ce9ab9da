"""From a folder on disk to a model that decides, with every reason to refuse on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import FatalError
from registry.encoders import OwnEncoder
from registry.folder import (
    BANDIT,
    CONFIG,
    ENCODER,
    HEAD,
    BadModelError,
    Manifest,
    read_file,
    read_manifest,
    verify,
)
from router.bandit import Bandit, ThompsonModel
from router.neural import NeuralModel
from router.rules import RuleScore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from router.model import Model


def open_model(
    folder: Path, *, masters: Sequence[str] | None = None, embedder: str | None = None
) -> NeuralModel:
    """Verify a model, load it, its own encoder included, and have it score a text once.

    Args:
        folder: sealed by `registry.folder.seal`.
        masters: who there is; every label must be one of them. None for models of anything else.
        embedder: `Encoder.identity` of the encoder whose embeddings it will be given.

    Raises:
        BadModelError: the folder is not what was sealed, no model of this program, or not for
            these masters or this encoder; the message says which and why.
        FatalError: packages that its own encoder needs are missing.
    """
    manifest = verify(folder)
    model = _build(folder, manifest, masters, embedder)
    _try_out(folder, model)
    return model


def with_bandit(folder: Path, model: NeuralModel) -> Model:
    """Return a model with the bandit that lies beside it; itself where there is none.

    Args:
        folder: the model's.
        model: what `open_model` made of it.

    Raises:
        BadModelError: the bandit is not the one that was sealed.
    """
    bandit = _bandit(folder, read_manifest(folder), model)
    return model if bandit is None else ThompsonModel(model, bandit, model.labels)


def check_model(
    folder: Path, *, masters: Sequence[str] | None = None, embedder: str | None = None
) -> Manifest:
    """Find out whether `open_model` would refuse, short of opening the model's own encoder.

    Returns:
        What the folder consists of.

    Raises:
        BadModelError: as there.
    """
    manifest = verify(folder)
    model = _build(folder, manifest, masters, embedder)
    if not model.config.own_encoder:
        _try_out(folder, model)
    return manifest


def _build(
    folder: Path,
    manifest: Manifest,
    masters: Sequence[str] | None,
    embedder: str | None,
) -> NeuralModel:
    config, weights = (read_file(folder, name, manifest) for name in (CONFIG, HEAD))
    has_own_encoder = any(name.startswith(f"{ENCODER}/") for name in manifest.files)
    own = OwnEncoder(folder).encode if has_own_encoder else None
    try:
        model = NeuralModel.build(config, weights, manifest.version, own)
    except FatalError as error:
        raise BadModelError(f"{folder}: {error}") from error
    if masters is not None and (strange := [name for name in model.labels if name not in masters]):
        raise BadModelError(f"{folder}: labels that are no masters: {', '.join(strange)}")
    if embedder is not None and model.config.embedder != (name := embedder.partition(":")[0]):
        raise BadModelError(
            f"{folder}: it was trained on embeddings by {model.config.embedder}, not by {name}"
        )
    _bandit(folder, manifest, model)  # who explores needs it; a damaged one is refused by all
    return model


def _bandit(folder: Path, manifest: Manifest, model: NeuralModel) -> Bandit | None:
    if BANDIT not in manifest.files:
        return None
    content = read_file(folder, BANDIT, manifest)
    try:
        return Bandit.read(content, len(model.labels), model.config.dim)
    except FatalError as error:
        raise BadModelError(f"{folder}: {error}") from error


def _try_out(folder: Path, model: NeuralModel) -> None:
    """Score one text: weights that overflow or an encoder that does not fit show up here."""
    blank = np.zeros((1, model.config.dim), np.float32)
    rules = RuleScore(model.labels[0], 0.0, {})
    try:
        with np.errstate(all="ignore"):
            found = model.score(["a text"], blank, [rules])
    except ValueError as error:
        raise BadModelError(f"{folder}: its own encoder does not fit its head: {error}") from error
    if not all(np.isfinite(each).all() for each in found):
        raise BadModelError(f"{folder}: its scores are not finite")
