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

    from vectors.model_source import ModelSource


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


class TorchEncoder:
    """An `Encoder` in fp32: exact, slow, and the yardstick for the others."""

    def __init__(self, source: ModelSource, pipeline: SentenceTransformer) -> None:
        digest = hashlib.sha256()
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
                list(texts), batch_size=1, normalize_embeddings=True, show_progress_bar=False
            ),
            np.float32,
        )
