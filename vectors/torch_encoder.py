"""The reference: the model as it was published, in fp32, through sentence-transformers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from contracts.errors import FatalError
from vectors.model_source import needs_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from vectors.model_source import ModelSource, Side

_PROMPT_NAMES: dict[Side, tuple[str, ...]] = {
    "query": ("query",),
    "passage": ("document", "passage", "corpus"),
}


def load_pipeline(source: ModelSource, threads: int = 1) -> SentenceTransformer:
    """Load a model on the CPU.

    Args:
        source: which.
        threads: of torch, for this whole process.

    Raises:
        FatalError: packages are missing, or there is no such model.
    """
    with needs_extra("export"):
        import torch  # noqa: PLC0415 # heavy, and only the reference and the export need it
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 # likewise
    torch.set_num_threads(threads)
    try:
        return SentenceTransformer(source.location, device="cpu").eval()
    except Exception as error:  # which errors is not documented: OSError, ValueError, hub errors
        msg = f"encoder model {source.location} cannot be loaded: {str(error).splitlines()[0]}"
        raise FatalError(msg) from error


def prompts_of(pipeline: SentenceTransformer) -> dict[Side, str]:
    """What a model wants in front of texts, as its configuration says; sides without are left out.

    The names are those that `encode_query` and `encode_document` of sentence-transformers look for;
    where a side has none, its `default_prompt_name` counts.
    """
    configured = pipeline.prompts
    fallback = configured.get(pipeline.default_prompt_name or "", "")
    found: dict[Side, str] = {}
    for side, names in _PROMPT_NAMES.items():
        prompt = next((configured[name] for name in names if configured.get(name)), fallback)
        if prompt:
            found[side] = prompt
    return found


class TorchEncoder:
    """An `Encoder` in fp32: exact, slow, and the yardstick for the others.

    Attributes:
        prompt: put in front of every text.
    """

    def __init__(
        self, source: ModelSource, pipeline: SentenceTransformer, side: Side | None = None
    ) -> None:
        """Take a model over.

        Args:
            source: which it is.
            pipeline: what `load_pipeline` made of it.
            side: of the texts; None is for texts that have their prompt already.
        """
        prompts = prompts_of(pipeline)
        self.prompt = prompts.get(side, "") if side else ""
        digest = hashlib.sha256(repr(sorted(prompts.items())).encode() if prompts else b"")
        for name, tensor in pipeline.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        self.identity = f"{source.name}:torch-fp32:{digest.hexdigest()[:12]}"
        self._pipeline = pipeline
        self.dim = self.encode([""]).shape[1]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts one by one, so that no text's vector depends on another's length.

        Returns:
            Array of shape (len(texts), dim), float32, each row L2-normalised.
        """
        if not texts:
            return np.empty((0, self.dim), np.float32)
        return np.asarray(
            self._pipeline.encode(
                [self.prompt + text for text in texts],
                prompt="",  # else one of the configuration's may come on top
                batch_size=1,
                normalize_embeddings=True,
                show_progress_bar=False,
            ),
            np.float32,
        )
