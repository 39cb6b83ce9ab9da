"""ONNX Runtime's dynamic int8, for comparison only; needs onnx, onnxscript and onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

from vectors import exported
from vectors.model_source import resolve
from vectors.torch_encoder import load_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def onnx_encoder(folder: Path) -> Encode:

    pipeline = load_pipeline(resolve(None))
    names = ("input_ids", "attention_mask", "token_type_ids")

    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pipeline = pipeline

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return self.pipeline(dict(zip(names, tensors, strict=True)))["sentence_embedding"]

    ones = torch.ones(2, 16, dtype=torch.int64)
    axes = {name: {0: "rows", 1: "tokens"} for name in names} | {"out": {0: "rows"}}
    full, small = folder / "full.onnx", folder / "int8.onnx"
    torch.onnx.export(
        Embedding(),
        (ones, ones, ones),
        full,
        input_names=list(names),
        output_names=["out"],
        dynamic_axes=axes,
        dynamo=False,
        opset_version=17,
    )
    quantize_dynamic(full, small, weight_type=QuantType.QInt8, per_channel=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(small, options)
    export = exported.default_cache_dir() / exported.folder_name(resolve(None).name)
    tokenizer = Tokenizer.from_file(str(export / exported.TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [tokenizer.encode(text).ids for text in texts]  # one thread, like the others
        width = max(len(row) for row in rows)
        ids = np.array([row + [0] * (width - len(row)) for row in rows])
        mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        vectors = session.run(None, dict(zip(names, (ids, mask, ids * 0), strict=True)))[0]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return encode
