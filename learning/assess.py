"""One evaluation from start to end: ask the router, ask the rules, measure, explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from learning.answers import head_latency, in_turn, of_model, of_rules
from learning.evaluate import evaluate
from learning.reasons import Known, explain, worst

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from learning.evaluate import Measured
    from learning.examples import Example
    from router.masters import Masters
    from router.neural import NeuralModel
    from router.rules import Rules
    from vectors.types import Encoder


class Neural(NamedTuple):
    """A model, and the encoder that it is given embeddings by."""

    model: NeuralModel
    encoder: Encoder


@dataclass(frozen=True, kw_only=True)
class Control:
    """Who there is, and the rules that route to them.

    Attributes:
        rules: measured beside a model whose labels are masters; they decide where it abstains.
        masters: whom the rules know.
    """

    rules: Rules
    masters: Masters


@dataclass(frozen=True, kw_only=True)
class Explaining:
    """What to explain mistakes with, and how many.

    Attributes:
        wrong: how many mistakes to explain at most.
        training: examples to look for similar ones in, and for the evaluated lines themselves.
    """

    wrong: int = 0
    training: Sequence[Example] | None = None


def _silent(_done: int, _of: int) -> None:
    pass


def assess(
    examples: Sequence[Example],
    router: Neural | None,
    control: Control,
    *,
    explaining: Explaining | None = None,
    progress: Callable[[int, int], None] = _silent,
) -> Measured:
    """Evaluate a model, or the rules, on labelled lines.

    Args:
        examples: the lines, at least one.
        router: what to evaluate; None for the rules.
        control: what it is compared with.
        explaining: what to explain; None is nothing.
        progress: told how many lines are done, of how many.

    Raises:
        FatalError: no line has a label that the router knows.
    """
    explaining = explaining or Explaining()
    rules, masters = control.rules, control.masters
    texts = [each.text for each in examples]
    scored = [rules.score(text) for text in texts]
    said = of_rules(scored, masters.names)
    answers, version, compared = said, f"rules {rules.version}", True
    if router is not None:
        answers = of_model(router.model, texts, router.encoder, scored, progress)
        version, compared = router.model.version, {*router.model.labels} <= {*masters.names}
    measured = evaluate(
        examples,
        answers,
        model=version,
        rules=said if compared else None,
        fallback=in_turn(answers, said) if router and compared else None,
    )
    known = Known(
        model=router and router.model,
        rules=rules if compared else None,
        examples=explaining.training or (),
        encoder=router and router.encoder,
    )
    lines = worst(measured.wrong, answers, measured.refused)[: explaining.wrong]
    evaluation = msgspec.structs.replace(
        measured.evaluation,
        wrong=explain(lines, examples, answers, measured.refused, known),
        latency_us=router and head_latency(router.model, texts, router.encoder, scored),
        seen_in_training=_seen(texts, explaining.training),
    )
    return measured._replace(evaluation=evaluation)


def _seen(texts: Sequence[str], training: Sequence[Example] | None) -> int | None:
    if training is None:
        return None
    trained = {each.text for each in training}
    return sum(text in trained for text in texts)
