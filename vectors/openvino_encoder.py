"""Encoding with an exported int8 model: OpenVINO, tokenizers and numpy, nothing heavier."""

from __future__ import annotations

import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import FatalError, TransientError
from vectors import exported
from vectors.batching import plan
from vectors.model_source import needs_extra
from vectors.openvino_model import read_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vectors.model_source import Side


_importing = threading.Lock()


def import_openvino() -> Any:  # noqa: ANN401 # an untyped module
    """Import openvino without its telemetry, which reports every import to its vendor.

    With the package hidden, openvino and nncf fall back to their own do-nothing stand-ins.

    Raises:
        FatalError: openvino is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # None hides it
    with _importing, needs_extra("retrieval"):
        import openvino  # noqa: PLC0415 # heavy

        # Its first look at an array sets up what all others share. Two threads that were the first
        # waited for each other forever, one with the interpreter's lock (OpenVINO 2026.4).
        openvino.Tensor(np.empty(1, np.float32))
    return openvino


class OpenVINOEncoder:
    """An `Encoder` on an exported model. Threads may share it; `threads` of them work at a time.

    The same text gives the same bytes in whatever batch it is encoded, see `vectors.batching`.

    Attributes:
        prompt: put in front of every text.
    """

    def __init__(
        self,
        folder: Path,
        manifest: exported.Manifest,
        threads: int = 1,
        side: Side | None = None,
    ) -> None:
        """Load an export whose files have been verified.

        Args:
            folder: holds the files of the manifest.
            manifest: what is in the folder.
            threads: of the engine, each with a batch of its own, so that a vector does not depend
                on how many there are. With one, encoding happens on the calling thread.
            side: of the texts; None is for texts that have their prompt already.

        Raises:
            FatalError: packages are missing, or the engine cannot load the model.
        """
        openvino = import_openvino()
        with needs_extra("retrieval"):
            from tokenizers import Tokenizer  # noqa: PLC0415 # only this backend needs it
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            # By default the calling thread is bound to the first core, and so would be that of
            # every other process on the host.
            "ENABLE_CPU_PINNING": False,
            # The default is bf16 where the CPU has it: 5 % faster, other vectors per CPU.
            "INFERENCE_PRECISION_HINT": "f32",
            # Kernels are kept for each shape; of the default of 5,000 none is ever forgotten, 2 MB
            # a shape. A hundred hold the shapes in use, and no slower ones were seen (15 MB less).
            "CPU_RUNTIME_CACHE_CAPACITY": 100,
        }
        self._free: SimpleQueue[Any] = SimpleQueue()
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / exported.TOKENIZER_FILE))
            model = openvino.Core().compile_model(
                read_model(openvino, folder / exported.MODEL_FILE), "CPU", options
            )
            for _ in range(threads):
                self._free.put(model.create_infer_request())
        except Exception as error:  # tokenizers raises bare Exception
            msg = f"encoder export {folder} cannot be loaded: {_first_line(error)}"
            raise FatalError(msg) from error
        self._inputs = frozenset(port.get_any_name() for port in model.inputs)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.max_tokens)
        self.prompt = manifest.prompts.get(side, "") if side else ""
        self._manifest = manifest

    @property
    def identity(self) -> str:
        """Model, backend, recipe and a digest of the exported files."""
        return self._manifest.identity

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self._manifest.dim

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts; what exceeds the model's `max_tokens` is cut off.

        Returns:
            Array of shape (len(texts), dim), float32, each row L2-normalised.

        Raises:
            TransientError: the engine failed.
        """
        # One by one: `encode_batch` would start a thread pool that does not survive a fork.
        ids = [self._tokenizer.encode(_encodable(self.prompt + text)).ids for text in texts]
        vectors = np.empty((len(ids), self.dim), np.float32)
        request = self._free.get()
        try:
            for width, positions in plan([len(row) for row in ids], self._manifest.max_tokens):
                rows = [ids[position] for position in positions]
                vectors[positions] = self._infer(request, rows, width)
        finally:
            self._free.put(request)
        return vectors

    def _infer(self, request: Any, rows: list[list[int]], width: int) -> NDArray[np.float32]:  # noqa: ANN401 - openvino is untyped
        tokens = np.zeros((len(rows), width), np.int64)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        every = {
            "input_ids": tokens,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(tokens),
        }
        feed = {name: every[name] for name in self._inputs}
        try:
            result: Any = request.infer(feed, share_outputs=True)[0]
        except RuntimeError as error:
            msg = f"the encoder failed on a batch of {len(rows)} x {width}: {_first_line(error)}"
            raise TransientError(msg) from error
        vectors: NDArray[np.float32] = result
        return vectors


def open_export(folder: Path, threads: int = 1, side: Side = "query") -> OpenVINOEncoder:
    """Verify an export and load it, for texts of one side.

    Raises:
        FatalError: the export is damaged or unfaithful, or cannot be loaded.
    """
    return OpenVINOEncoder(folder, exported.read_verified(folder), threads, side)


def _encodable(text: str) -> str:
    """Replace lone surrogates, which are not text and which the tokenizer refuses."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
