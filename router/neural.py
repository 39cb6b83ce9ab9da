"""A trained router at work: from a text, its embedding and what the rules say to a distribution.

The head is linear in three blocks (hashed words and characters, embeddings, rule scores), so that
one forward pass takes tens of microseconds in numpy. Probabilities are the softmax of its logits
over a temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks").

It abstains where it is not certain. Certainty is a weighted sum of the energy of the logits (Liu et
al. 2020, "Energy-based Out-of-distribution Detection"), the margin between the two most probable
labels, and the cosine to the nearest prototype of the training texts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct
from safetensors import SafetensorError
from safetensors.numpy import load

from contracts.errors import FatalError
from router.features import Lexical
from router.model import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from router.rules import RuleScore

    Floats = NDArray[np.float32]
    Encode = Callable[[Sequence[str]], Floats]

_LEAST_SCORE = 1e-3  # a rule score below it says no more than this one
_Positive = Annotated[float, Meta(gt=0)]
_ABSTAINED = "not certain enough"


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

    labels: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=2)]
    embedder: Annotated[str, Meta(min_length=1)]
    dim: Annotated[int, Meta(gt=0)]
    rules: tuple[str, ...] = ()
    temperature: _Positive = 1.0
    certainty: tuple[float, float, float] = (1.0, 0.0, 0.0)
    thresholds: dict[str, float] = {}
    own_encoder: bool = False
    seed: int = 0
    trained_on: int = 0


class Scores(NamedTuple):
    """What a model thinks of n texts.

    Attributes:
        probabilities: shape (n, labels), float32, calibrated; rows sum to 1.
        certainty: shape (n,), float32; low for what is unlike the training texts.
    """

    probabilities: Floats
    certainty: Floats


@dataclass(frozen=True, slots=True, eq=False)
class NeuralModel:
    """A head, and how to read its answers. Safe to use from several threads.

    Attributes:
        version: identity of weights and configuration.
    """

    version: str
    config: ModelConfig
    _lexical: Lexical
    _dense: Floats  # (dim [+ own dim] + rules + 1, labels + prototypes)
    _thresholds: Floats  # (labels,)
    _encode: Encode | None

    @classmethod
    def build(
        cls, config: bytes, weights: bytes, version: str, encode: Encode | None = None
    ) -> NeuralModel:
        """Check and assemble a model.

        Args:
            config: text of `config.json`.
            weights: bytes of `head.safetensors`.
            version: what decisions are to name.
            encode: the model's own encoder, if it has one.

        Raises:
            FatalError: they are no model, or not one that could decide; with the reason.
        """
        try:
            settings = msgspec.json.decode(config, type=ModelConfig)
        except msgspec.DecodeError as error:
            raise FatalError(f"model: config.json: {error}") from error
        try:
            tensors = load(weights)
        except (SafetensorError, ValueError, KeyError) as error:
            raise FatalError(f"model: head.safetensors: {error}") from error
        _check_config(settings, encode)
        _check_tensors(settings, tensors)
        floats = {name: each.astype(np.float32) for name, each in tensors.items() if name != "keys"}
        thresholds = [settings.thresholds.get(label, -math.inf) for label in settings.labels]
        return cls(
            version,
            settings,
            Lexical(tensors["keys"], floats["idf"], floats["lexical"]),
            _one_product(floats, len(settings.rules)),
            np.array(thresholds, np.float32),
            encode,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """What it tells apart."""
        return self.config.labels

    def predict(
        self, descriptions: Sequence[str], embeddings: Floats, rules: Sequence[RuleScore]
    ) -> list[Prediction]:
        """Score a batch; see `router.model.Model`."""
        probabilities, certainty = self.score(descriptions, embeddings, rules)
        abstained = certainty < self._thresholds[probabilities.argmax(1)]
        return [
            Prediction(
                dict(zip(self.labels, row, strict=True)), unsure, _ABSTAINED if unsure else None
            )
            for row, unsure in zip(probabilities.tolist(), abstained.tolist(), strict=True)
        ]

    def probabilities(
        self, descriptions: Sequence[str], embeddings: Floats, rules: Sequence[RuleScore]
    ) -> Floats:
        """Return an array (n, labels) of calibrated probabilities, float32."""
        return self.score(descriptions, embeddings, rules).probabilities

    def score(
        self, descriptions: Sequence[str], embeddings: Floats, rules: Sequence[RuleScore]
    ) -> Scores:
        """Score a batch, without saying what is certain enough.

        Args:
            descriptions: n texts.
            embeddings: shape (n, dim), float32, rows of length 1.
            rules: what the rules think of each; not looked at if the model does not use them.
        """
        blocks = [embeddings] if self._encode is None else [embeddings, self._encode(descriptions)]
        seen, size = self.config.rules, len(descriptions)
        rest = [[*_logarithms(each, seen), 1.0] for each in rules] if seen else [[1.0]] * size
        blocks.append(np.array(rest, np.float32).reshape(size, len(seen) + 1))
        product = np.concatenate(blocks, axis=1) @ self._dense
        width = len(self.config.labels)
        logits = self._lexical.logits(descriptions) + product[:, :width]
        return read_logits(logits, product[:, width:], self.config)

    def explain(self, description: str, label: str) -> list[tuple[str, float]]:
        """Return the pieces of a text with what each adds to a label's logit, against the others.

        Raises:
            ValueError: there is no such label.
        """
        index = self.labels.index(label)
        return [
            (piece, float(added[index] - added.mean()))
            for piece, added in self._lexical.explain(description)
        ]


def rule_features(rules: Sequence[RuleScore], masters: Sequence[str]) -> Floats:
    """Return logarithms of rule scores, array (n, masters), each row with mean 0."""
    rows = [_logarithms(each, masters) for each in rules]
    logs = np.array(rows, np.float32).reshape(len(rules), len(masters))
    return np.asarray(logs - logs.mean(1, keepdims=True), np.float32)


def _logarithms(rules: RuleScore, masters: Sequence[str]) -> list[float]:
    # So few numbers are quicker one by one than as an array.
    scores = rules.scores
    return [math.log(max(scores.get(name, 0.0), _LEAST_SCORE)) for name in masters]


def _one_product(floats: dict[str, Floats], rules: int) -> Floats:
    """Return one matrix for what embeddings and rules add to the logits, bias, and similarities.

    It is to be multiplied with embeddings, logarithms of rule scores and a 1: that `rule_features`
    have mean 0 is settled here and not text by text.
    """
    dense, prototypes = floats["dense"], floats["prototypes"]
    end = len(dense) - rules
    if rules:
        dense[end:] -= dense[end:].mean(0)
    compared = np.zeros((len(dense) + 1, len(prototypes)), np.float32)
    compared[end - prototypes.shape[1] : end] = prototypes.T
    return np.hstack([np.vstack([dense, floats["bias"]]), compared])


def read_logits(logits: Floats, similarities: Floats, config: ModelConfig) -> Scores:
    """Turn logits into calibrated probabilities and certainty.

    Args:
        logits: shape (n, labels).
        similarities: shape (n, prototypes), cosines.
        config: temperature and weights of the certainty.
    """
    scaled = logits / np.float32(config.temperature)
    ordered = scaled.copy()
    ordered.partition(-2, axis=1)
    highest = ordered[:, -1:]
    odds = np.exp(scaled - highest)
    whole = np.add.reduce(odds, axis=1, keepdims=True)
    by_energy, by_margin, by_similarity = config.certainty
    certainty: Floats = (
        by_energy * (np.log(whole) + highest)
        + by_margin * ((1 - np.exp(ordered[:, -2:-1] - highest)) / whole)
        + by_similarity * np.maximum.reduce(similarities, axis=1, keepdims=True)
    )
    return Scores(np.asarray(odds / whole, np.float32), certainty[:, 0])


def _check_config(config: ModelConfig, encode: Encode | None) -> None:
    if len({*config.labels}) < len(config.labels):
        raise FatalError("model: a label stands in config.json twice")
    if unknown := config.thresholds.keys() - {*config.labels}:
        raise FatalError(f"model: a threshold for {min(unknown)!r}, which is no label")
    numbers = (config.temperature, *config.certainty, *config.thresholds.values())
    if not all(map(math.isfinite, numbers)):
        raise FatalError("model: a number in config.json is not finite")
    if config.own_encoder != (encode is not None):
        raise FatalError("model: it needs an encoder of its own" if encode is None else _NOT_OWN)


_NOT_OWN = "model: it was given an encoder of its own, and has none"


def _check_tensors(config: ModelConfig, tensors: dict[str, NDArray[np.generic]]) -> None:
    missing = {"keys", "idf", "lexical", "dense", "bias", "prototypes"} - tensors.keys()
    if missing:
        raise FatalError(f"model: head.safetensors has no tensor {min(missing)!r}")
    if scalars := [name for name in ("keys", "prototypes") if tensors[name].ndim == 0]:
        raise FatalError(f"model: {scalars[0]} is a single number")
    if tensors["keys"].dtype != np.uint32:
        raise FatalError(f"model: keys are {tensors['keys'].dtype}, not uint32")
    width, features = len(config.labels), len(tensors["keys"])
    own = tensors["prototypes"].shape[-1]
    inputs = config.dim + len(config.rules) + (own if config.own_encoder else 0)
    shapes = {
        "keys": (features,),
        "idf": (features,),
        "lexical": (features, width),
        "dense": (inputs, width),
        "bias": (width,),
        "prototypes": (len(tensors["prototypes"]), own if config.own_encoder else config.dim),
    }
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise FatalError(f"model: {name} has shape {tensor.shape}, not {shape}")
        if name == "keys":
            continue
        if tensor.dtype not in {np.dtype(np.float16), np.dtype(np.float32)}:
            raise FatalError(f"model: {name} is {tensor.dtype}, not float16 or float32")
        if not np.isfinite(tensor).all():
            raise FatalError(f"model: {name} has numbers that are not finite")
    if not len(tensors["prototypes"]):
        raise FatalError("model: it has no prototypes")
