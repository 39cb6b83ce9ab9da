"""A trained router at work: from a text, its embedding and what the rules say to a distribution."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

_Positive = Annotated[float, Meta(gt=0)]


class ModelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is besides its weights; `config.json` of its folder.

    Attributes:
        labels: what it tells apart, in the order of its outputs.
        embedder: name of the encoder whose embeddings it was trained on.
        dim: width of those embeddings.
        rules: whose rule scores it takes as input, in order; none if it was trained without.
        temperature: logits are divided by it, which calibrates them.
        certainty: weights of energy, margin and nearest-prototype similarity in the certainty.
        thresholds: certainty per label below which the model abstains; a label without never does.
        own_encoder: whether the folder holds a fine-tuned encoder of the model's own.
        seed: training repeats itself from it.
        trained_on: number of examples.
    """

    labels: Annotated[tuple[str, ...], Meta(min_length=2)]
    embedder: str
    dim: Annotated[int, Meta(gt=0)]
    rules: tuple[str, ...] = ()
    temperature: _Positive = 1.0
    certainty: tuple[float, float, float] = (1.0, 0.0, 0.0)
    thresholds: dict[str, float] = {}
    own_encoder: bool = False
    seed: int = 0
    trained_on: int = 0
