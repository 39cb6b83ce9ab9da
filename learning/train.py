"""Trains a router: lines of text and label in, a calibrated model out. Read it top to bottom.

    examples ─▶ inputs ─▶ held-back predictions ─▶ recipe, temperature, thresholds
                      └─▶ one head over everything ──────────────────────┴─▶ Trained

Whatever is chosen is chosen on examples that were held back, whole sources at a time where the
lines name them: what is asked of a router is texts from places it has not seen.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from contracts.errors import FatalError
from learning import calibrate
from learning.design import Inputs
from learning.examples import NONE, Example, words_of
from learning.fitting import Known, Recipe, choose_mix, choose_strengths, fit
from learning.trained import Trained
from router.neural import ModelConfig, read_logits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from learning.fitting import Fitted, Halves
    from router.masters import Masters
    from router.rules import Rules
    from vectors.types import Encoder

    Floats = NDArray[np.float32]
    Rows = NDArray[np.intp]
    Progress = Callable[[str, int, int], None]

_AT_ONCE = 256  # texts embedded between two reports of progress
_FEW_EACH = 2  # examples of a label, without which none could be held back
_BACKGROUND = 0.3  # of the weight of an example; docs/log.md has what others bring
_SOURCES = 2  # for each fold, or whole sources are not held back


class TrainSettings(Struct, frozen=True, kw_only=True):
    """How to train.

    Attributes:
        seed: everything random comes from it.
        folds: parts that are held back in turn.
        recipe: if it is not to be chosen on held-back examples, which pays where those that will
            be asked about are of another kind.
        doubt: the temperature is this many times the one that fits the held-back examples.
    """

    seed: int = 0
    folds: int = 5
    recipe: Recipe | None = None
    doubt: float = 1.0


class _Held(NamedTuple):
    """What heads that had not seen them say of examples, and of texts that have no label."""

    known: Known
    rules_right: NDArray[np.bool_]
    halves: Halves
    similarity: Floats
    none: Halves
    none_similarity: Floats


def _silent(_what: str, _done: int, _of: int) -> None:
    pass


def train(  # noqa: PLR0913 - what it learns from, and how
    examples: Sequence[Example],
    *,
    encoder: Encoder,
    rules: Rules | None,
    masters: Masters | None,
    background: Sequence[Example] = (),
    settings: TrainSettings | None = None,
    progress: Progress = _silent,
) -> Trained:
    """Train a model.

    Where every label is a master, all masters are labels, the background and each master's own
    description and examples are learned from too, and what the rules say is an input. Otherwise a
    label's own words are an example of it. Examples labelled `oos` are of no label: they show where
    to abstain, and are not learned as a class.

    Args:
        examples: at least two labels, each with two examples.
        encoder: embeds texts; the same one must serve the model later.
        rules: what the rules say; None to do without.
        masters: who could be meant by the labels; None if they are something else.
        background: further examples to learn from, by which nothing is judged: they are not of
            the kind that will be asked about.
        settings: how.
        progress: told what is being done, how far, of how much.

    Raises:
        FatalError: there is too little to learn from.
    """
    settings = settings or TrainSettings()
    used = [each for each in examples if each.label != NONE]
    labels = _labels(used, masters)
    routed = masters is not None and labels == masters.names
    judged = len(used)
    if routed and masters is not None:
        asked = {each.text for each in used}  # learned beside it, it would be known, not judged
        further = [each for each in background if each.text not in asked]
        used += [*_own_words(masters), *_weighed(further, labels)]
    else:
        _check(used, labels)
        used += [Example(words, label) for label in labels if (words := words_of(label))]
    _check(used, labels)
    seen = labels if routed and rules else ()
    look = partial(_look, encoder=encoder, rules=rules, seen=seen, progress=progress)
    known = _known(used, labels, look([each.text for each in used]))
    nothing = look([each.text for each in examples if each.label == NONE])

    folds = [*_folds(known.targets[:judged], used[:judged], len(used), settings)]
    progress("strengths", 0, 1)
    joint, lexical, weighed = (
        (settings.recipe.joint, settings.recipe.lexical, settings.recipe.weighed)
        if settings.recipe
        else choose_strengths([[*map(known.take, each)] for each in folds[:2]])
    )
    fitted = partial(fit, joint=joint, lexical=lexical, weighed=weighed)
    held = []
    for number, (learned, rest) in enumerate(folds):
        progress("held back", number, len(folds))
        held.append(_hold_back(fitted(known.take(learned)), known.take(rest), nothing))
    recipe = settings.recipe or Recipe(
        joint,
        lexical,
        *choose_mix([each.halves for each in held], [each.known for each in held]),
        weighed=weighed,
    )
    config = ModelConfig(
        labels=labels,
        embedder=encoder.identity.partition(":")[0],
        dim=encoder.dim,
        rules=seen,
        seed=settings.seed,
        trained_on=len(used),
    )
    mix = (recipe.share, recipe.rules if seen else 0.0)
    config, metrics = _calibrated(config, held, mix, settings.doubt)
    progress("head", 0, 1)
    tensors = fitted(known).tensors(known.inputs.scales, *mix)
    progress("head", 1, 1)
    return Trained(config, tensors, recipe._asdict() | metrics, fingerprint(examples))


def fingerprint(examples: Sequence[Example]) -> str:
    """Return a SHA-256 hex over the examples, in whatever order they come."""
    lines = sorted(msgspec.json.encode(each) for each in examples)
    return sha256(b"\n".join(lines)).hexdigest()


def _calibrated(
    config: ModelConfig, held: Sequence[_Held], mix: tuple[float, float], doubt: float
) -> tuple[ModelConfig, dict[str, float]]:
    """Fit temperature, certainty and thresholds; returns them with what was measured."""
    logits = np.concatenate([each.halves.mixed(*mix) for each in held])
    similarity = np.concatenate([each.similarity for each in held])
    targets = np.concatenate([each.known.targets for each in held])
    weights = np.concatenate([each.known.weights for each in held])
    temperature = doubt * calibrate.fit_temperature(logits, targets, weights)
    # Where rules stand in, abstaining is for what they know better; else for what is none of it.
    of_margin = 1.0 if config.rules else calibrate.OUT_OF_SCOPE_MARGIN
    certainty_weights = calibrate.certainty_weights(logits, similarity, temperature, of_margin)
    config = msgspec.structs.replace(config, temperature=temperature, certainty=certainty_weights)
    probabilities, certainty = read_logits(logits, similarity[:, None], config)
    chosen = probabilities.argmax(1)
    right = chosen == targets
    none = np.concatenate(
        [
            read_logits(each.none.mixed(*mix), each.none_similarity[:, None], config).certainty
            for each in held
        ]
    )
    if config.rules and not len(none):
        rules_right = np.concatenate([each.rules_right for each in held])
        found = {
            label: calibrate.threshold_for_rules(*(part[chosen == number] for part in parts))
            for parts in [(certainty, right, rules_right)]
            for number, label in enumerate(config.labels)
        }
        thresholds = {label: each for label, each in found.items() if each is not None}
    else:
        threshold = calibrate.threshold_for_none(certainty, right, none)
        thresholds = dict.fromkeys(config.labels, threshold)
    loss = calibrate.log_loss(logits, targets, weights, temperature)
    accuracy = float(np.average(right, weights=weights))
    metrics = {"held_back_accuracy": round(accuracy, 4), "held_back_log_loss": round(loss, 4)}
    return msgspec.structs.replace(config, thresholds=thresholds), metrics


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


def _weighed(background: Sequence[Example], labels: tuple[str, ...]) -> list[Example]:
    """The background of some labels, each label counting as much as the others."""
    of = Counter(each.label for each in background if each.label in labels)
    mean = sum(of.values()) / max(1, len(of))
    return [
        msgspec.structs.replace(each, weight=_BACKGROUND * each.weight * mean / of[each.label])
        for each in background
        if each.label in of
    ]


def _check(examples: Sequence[Example], labels: tuple[str, ...]) -> None:
    if len(labels) < 2:  # noqa: PLR2004 - a choice is between two
        raise FatalError("training needs examples of at least two labels")
    for label in labels:
        if sum(each.label == label for each in examples) < _FEW_EACH:
            raise FatalError(f"training needs at least {_FEW_EACH} examples of {label!r}")
    if not any(each.weight for each in examples):
        raise FatalError("every example has weight 0")


def _look(
    texts: Sequence[str],
    *,
    encoder: Encoder,
    rules: Rules | None,
    seen: tuple[str, ...],
    progress: Progress,
) -> Inputs:
    embedded: list[Floats] = [np.zeros((0, encoder.dim), np.float32)]
    for start in range(0, len(texts), _AT_ONCE):
        progress("embedding", start, len(texts))
        embedded.append(encoder.encode(texts[start : start + _AT_ONCE]))
    scored = [rules.score(text) for text in texts] if rules and seen else []
    return Inputs.of(texts, np.concatenate(embedded), scored=scored, masters=seen)


def _known(examples: Sequence[Example], labels: tuple[str, ...], inputs: Inputs) -> Known:
    index = {label: number for number, label in enumerate(labels)}
    targets = np.array([index[each.label] for each in examples], np.intp)
    weights = np.array([each.weight for each in examples], np.float32)
    return Known(inputs, targets, weights, len(labels))


def _folds(
    targets: Rows, examples: Sequence[Example], rows: int, settings: TrainSettings
) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows to learn from and rows held back: each judged one once, none of the others."""
    counts = np.bincount(targets)
    count = max(2, min(settings.folds, int(counts[counts > 0].min())))
    sources = [each.origin or f"\0{number}" for number, each in enumerate(examples)]
    named = {each.origin for each in examples if each.origin}
    whole = len(named) >= _SOURCES * count
    kind = StratifiedGroupKFold if whole else StratifiedKFold
    folds = kind(count, shuffle=True, random_state=settings.seed)
    always = np.arange(len(targets), rows)
    for learned, held in folds.split(targets, targets, sources if whole else None):
        yield np.concatenate([learned, always]), held


def _hold_back(fitted: Fitted, held: Known, nothing: Inputs) -> _Held:
    says = held.inputs.rules.argmax(1) if held.inputs.rules.size else np.full(len(held.targets), -1)
    return _Held(
        held,
        says == held.targets,
        fitted.halves(held.inputs),
        fitted.similarity(held.inputs),
        fitted.halves(nothing),
        fitted.similarity(nothing),
    )
