"""Trains a router: lines of text and label in, a calibrated model out. Read it top to bottom.

    examples ─▶ inputs ─▶ held-back predictions ─▶ strength, temperature, thresholds
                      └─▶ one head over everything ─────────────────────────────┴─▶ Trained

Whatever is chosen is chosen on examples that were held back, whole sources at a time where the
lines name them: what is asked of a router is texts from places it has not seen.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from sklearn.cluster import KMeans
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from contracts.errors import FatalError
from learning import calibrate
from learning.design import Inputs, Lexicon
from learning.examples import NONE, Example
from learning.head import fit_head, logits_of
from learning.trained import Trained
from router.neural import ModelConfig, read_logits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    from router.masters import Masters
    from router.rules import Rules
    from vectors.types import Encoder

    Floats = NDArray[np.float32]
    Progress = Callable[[str, int, int], None]

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_PROTOTYPES = 512  # over all labels; comparing with them must not cost more than the head
_PER_LABEL = 8
_FEW_LABELS = 20


class TrainSettings(Struct, frozen=True, kw_only=True):
    """How to train.

    Attributes:
        seed: everything random comes from it.
        folds: parts that are held back in turn.
        strengths: what is tried of `learning.head.fit_head`'s.
    """

    seed: int = 0
    folds: int = 5
    strengths: tuple[float, ...] = STRENGTHS


class _Set(NamedTuple):
    """What training looks at: n examples as arrays."""

    inputs: Inputs
    targets: NDArray[np.intp]
    weights: Floats
    sources: NDArray[np.intp]


def _silent(_what: str, _done: int, _of: int) -> None:
    pass


def train(
    examples: Sequence[Example],
    *,
    encoder: Encoder,
    rules: Rules | None,
    masters: Masters | None,
    settings: TrainSettings | None = None,
    progress: Progress = _silent,
) -> Trained:
    """Train a model.

    Where every label is a master, all masters are labels, each master's description and examples
    are learned from too, and what the rules say is an input. Examples labelled `oos` are of no
    label: they show where to abstain, and are not learned as a class of their own.

    Args:
        examples: at least two labels, each with two examples.
        encoder: embeds texts; the same one must serve the model later.
        rules: what the rules say; None to do without.
        masters: who could be meant by the labels; None if they are something else.
        settings: how.
        progress: told what is being done, how far, of how much.

    Raises:
        FatalError: there is too little to learn from.
    """
    settings = settings or TrainSettings()
    used = [each for each in examples if each.label != NONE]
    labels = _labels(used, masters)
    routed = masters is not None and labels == masters.names
    if routed and masters is not None:
        used += _own_words(masters)
    _check(used, labels)
    look = partial(_look, encoder=encoder, rules=rules if routed else None, masters=labels)
    data = _as_set(used, labels, look([each.text for each in used], progress=progress))
    nothing = look([each.text for each in examples if each.label == NONE], progress=progress)

    folds = list(_folds(data, settings))
    strength = _choose_strength(data, folds, len(labels), settings, progress)
    held = [*_hold_back(data, nothing, folds, len(labels), strength, progress)]
    order = np.concatenate([each.rows for each in held])
    logits = np.concatenate([each.logits for each in held])
    similarity = np.concatenate([each.similarity for each in held])
    targets, weights = data.targets[order], data.weights[order]
    temperature = calibrate.fit_temperature(logits, targets, weights)
    config = ModelConfig(
        labels=labels,
        embedder=encoder.identity.partition(":")[0],
        dim=data.inputs.embeddings.shape[1],
        rules=labels if routed and rules is not None else (),
        temperature=temperature,
        certainty=calibrate.certainty_weights(logits, similarity, temperature),
        seed=settings.seed,
        trained_on=len(used),
    )
    probabilities, certainty = read_logits(logits, similarity[:, None], config)
    right = probabilities.argmax(1) == targets
    none = np.concatenate([each.none(config) for each in held])
    if routed and not len(none):
        thresholds = _rule_thresholds(data, order, certainty, probabilities, config)
    else:
        threshold = calibrate.threshold_for_none(certainty, right, none)
        thresholds = dict.fromkeys(labels, threshold)
    config = msgspec.structs.replace(config, thresholds=thresholds)

    progress("head", 0, 1)
    tensors = _fit(data, len(labels), strength)
    progress("head", 1, 1)
    metrics = {
        "held_back_accuracy": round(float(np.average(right, weights=weights)), 4),
        "held_back_log_loss": round(calibrate.log_loss(logits, targets, weights, temperature), 4),
        "strength": strength,
    }
    return Trained(config, tensors, metrics, fingerprint(examples))


def fingerprint(examples: Sequence[Example]) -> str:
    """Return a SHA-256 hex over the examples, in whatever order they come."""
    lines = sorted(msgspec.json.encode(each) for each in examples)
    return sha256(b"\n".join(lines)).hexdigest()


class _Held(NamedTuple):
    """Predictions on one fold by a head that has not seen it."""

    rows: NDArray[np.intp]
    logits: Floats
    similarity: Floats
    none_logits: Floats
    none_similarity: Floats

    def none(self, config: ModelConfig) -> Floats:
        return read_logits(self.none_logits, self.none_similarity[:, None], config).certainty


def _labels(examples: Sequence[Example], masters: Masters | None) -> tuple[str, ...]:
    found = {each.label for each in examples}
    if masters is not None and found <= {*masters.names}:
        return masters.names
    return tuple(sorted(found))


def _own_words(masters: Masters) -> list[Example]:
    """What the masters say of themselves, so that one without data takes part too."""
    return [
        Example(text=text, label=master.name, source="masters")
        for master in masters.all
        for text in (master.description, *master.examples)
    ]


def _check(examples: Sequence[Example], labels: tuple[str, ...]) -> None:
    if len(labels) < 2:  # noqa: PLR2004 - a choice is between two
        raise FatalError("training needs examples of at least two labels")
    for label in labels:
        if sum(each.label == label for each in examples) < 2:  # noqa: PLR2004 - one is held back
            raise FatalError(f"training needs at least two examples of {label!r}")
    if not any(each.weight for each in examples):
        raise FatalError("every example has weight 0")


def _look(
    texts: Sequence[str],
    *,
    encoder: Encoder,
    rules: Rules | None,
    masters: tuple[str, ...],
    progress: Progress,
) -> Inputs:
    embedded: list[Floats] = [np.zeros((0, encoder.dim), np.float32)]
    for start in range(0, len(texts), 256):
        progress("embedding", start, len(texts))
        embedded.append(encoder.encode(texts[start : start + 256]))
    progress("embedding", len(texts), len(texts))
    scored = [rules.score(text) for text in texts] if rules else []
    seen = masters if rules else ()
    return Inputs.of(texts, np.concatenate(embedded), scored=scored, masters=seen)


def _as_set(examples: Sequence[Example], labels: tuple[str, ...], inputs: Inputs) -> _Set:
    index = {label: number for number, label in enumerate(labels)}
    sources: dict[str, int] = {}
    return _Set(
        inputs,
        np.array([index[each.label] for each in examples], np.intp),
        np.array([each.weight for each in examples], np.float32),
        np.array(
            [sources.setdefault(each.source or "", len(sources)) for each in examples], np.intp
        ),
    )


def _folds(data: _Set, settings: TrainSettings) -> Iterator[tuple[NDArray[np.intp], ...]]:
    """Yield pairs of rows to learn from and rows held back."""
    smallest = int(np.bincount(data.targets).min())
    many = len(np.unique(data.sources)) >= 2 * settings.folds
    count = max(2, min(settings.folds, smallest))
    kind = StratifiedGroupKFold if many else StratifiedKFold
    folds = kind(count, shuffle=True, random_state=settings.seed)
    yield from folds.split(data.targets, data.targets, data.sources if many else None)


def _choose_strength(
    data: _Set,
    folds: list[tuple[NDArray[np.intp], ...]],
    labels: int,
    settings: TrainSettings,
    progress: Progress,
) -> float:
    """Return the strength of least log loss on the first two folds, each well calibrated."""
    losses = dict.fromkeys(settings.strengths, 0.0)
    folds = folds[: 2 if labels <= _FEW_LABELS else 1]
    for number, (learned, held) in enumerate(folds):
        lexicon, matrix = _matrix(data.inputs.take(learned))
        tried = data.inputs.take(held).matrix(lexicon)
        for turn, strength in enumerate(settings.strengths):
            progress("strength", number * len(losses) + turn, len(folds) * len(losses))
            head = fit_head(matrix, data.targets[learned], data.weights[learned], labels, strength)
            scored = (logits_of(head, tried), data.targets[held], data.weights[held])
            losses[strength] += calibrate.log_loss(*scored, calibrate.fit_temperature(*scored))
    return min(losses, key=losses.__getitem__)


def _matrix(inputs: Inputs) -> tuple[Lexicon, sparse.csr_matrix]:
    lexicon = Lexicon.of(inputs.hashed)
    return lexicon, inputs.matrix(lexicon)


def _hold_back(
    data: _Set,
    nothing: Inputs,
    folds: list[tuple[NDArray[np.intp], ...]],
    labels: int,
    strength: float,
    progress: Progress,
) -> Iterator[_Held]:
    for number, (learned, held) in enumerate(folds):
        progress("held back", number, len(folds))
        inputs = data.inputs.take(learned)
        lexicon, matrix = _matrix(inputs)
        targets = data.targets[learned]
        head = fit_head(matrix, targets, data.weights[learned], labels, strength)
        prototypes = _prototypes(inputs.embeddings, targets, labels).T
        tried = data.inputs.take(held)
        yield _Held(
            held,
            logits_of(head, tried.matrix(lexicon)),
            (tried.embeddings @ prototypes).max(1),
            logits_of(head, nothing.matrix(lexicon)),
            (nothing.embeddings @ prototypes).max(1, initial=-1.0),
        )
    progress("held back", len(folds), len(folds))


def _fit(data: _Set, labels: int, strength: float) -> dict[str, NDArray[np.generic]]:
    lexicon, matrix = _matrix(data.inputs)
    head = fit_head(matrix, data.targets, data.weights, labels, strength)
    lexical, dense = np.split(head.weights, [len(lexicon.keys)])
    return {
        "keys": lexicon.keys,
        "idf": lexicon.idf,
        "lexical": lexical.astype(np.float16),
        "dense": dense * data.inputs.scales[:, None],
        "bias": head.bias,
        "prototypes": _prototypes(data.inputs.embeddings, data.targets, labels),
    }


def _prototypes(embeddings: Floats, targets: NDArray[np.intp], labels: int) -> Floats:
    """Centres of the texts of each label (k-means), scaled to length 1."""
    per_label = max(1, min(_PER_LABEL, _PROTOTYPES // labels))
    centres = [
        KMeans(min(per_label, len(of_label)), n_init=1, random_state=0).fit(of_label)
        for label in range(labels)
        if len(of_label := embeddings[targets == label])
    ]
    found = np.concatenate([each.cluster_centers_ for each in centres])
    unit: Floats = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _rule_thresholds(
    data: _Set,
    order: NDArray[np.intp],
    certainty: Floats,
    probabilities: Floats,
    config: ModelConfig,
) -> dict[str, float]:
    """Where the rules would have been right more often, per label the model chose."""
    if not config.rules:
        return {}
    chosen, targets = probabilities.argmax(1), data.targets[order]
    rules_right = data.inputs.rules[order].argmax(1) == targets
    thresholds = {
        label: calibrate.threshold_for_rules(
            certainty[chosen == number],
            (chosen == targets)[chosen == number],
            rules_right[chosen == number],
        )
        for number, label in enumerate(config.labels)
    }
    return {label: each for label, each in thresholds.items() if each is not None}
