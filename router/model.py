"""What the policy asks of a neural model. Training and loading one is not the router's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from router.rules import RuleScore


class Prediction(Struct, frozen=True, gc=False):
    """What a model thinks of one description.

    Attributes:
        scores: calibrated probability per master; sums to 1.
        abstained: whether the model would rather leave this one to the rules.
        reason: why it abstained, for people.
        chances: how a model that knows what it is unsure of would have the policy explore;
            probability per master, None where it has no such wish.
    """

    scores: dict[str, float]
    abstained: bool = False
    reason: str | None = None
    chances: dict[str, float] | None = None


class Model(Protocol):
    """A trained router; one version of it serves one decision."""

    @property
    def version(self) -> str:
        """Identity of weights and configuration, as it stands in decisions."""

    def predict(
        self,
        descriptions: Sequence[str],
        embeddings: NDArray[np.float32],
        rules: Sequence[RuleScore],
    ) -> list[Prediction]:
        """Score a batch.

        Args:
            descriptions: n texts.
            embeddings: shape (n, dim), float32, each row the L2-normalised vector of its text.
            rules: what the rules think of each text.

        Returns:
            n predictions, in the order of the texts.
        """
