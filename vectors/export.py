"""Turn a sentence-transformers model into an int8 OpenVINO export, once.

Runs as a process of its own (`python -m vectors.export NAME LOCATION CACHE_DIR`), so that torch,
nncf and their threads never enter a worker. Quantised by nncf's post-training quantisation: weights
and activations to int8 with ranges fixed on calibration texts. Fixed ranges, unlike dynamic ones,
do not depend on what else is in a batch.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from contracts.errors import CortexError
from vectors import exported
from vectors.disk import sync
from vectors.model_source import ModelSource, needs_extra
from vectors.openvino_encoder import OpenVINOEncoder, import_openvino
from vectors.torch_encoder import TorchEncoder, load_pipeline, prompts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

_TOOLS = ("nncf", "openvino", "sentence-transformers", "torch", "transformers")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export(source: ModelSource, cache_dir: Path) -> Path:
    """Export a model unless that is done; of several processes at once, one does it.

    Args:
        source: the model.
        cache_dir: folder of exports; created if need be.

    Returns:
        The export's folder, complete and synced.

    Raises:
        FatalError: packages are missing, the model cannot be loaded, or its export is unfaithful.
    """
    final = cache_dir / exported.folder_name(source.name)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _locked(final.with_name(f"{final.name}.lock")):
        if final.exists():
            return final
        partial = final.with_name(f"{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _build(source, partial)
        for path in (*partial.iterdir(), partial):
            sync(path)
        partial.rename(final)
        sync(cache_dir)
    return final


def _build(source: ModelSource, folder: Path) -> None:
    pipeline = load_pipeline(source)
    calibration, check = exported.texts()
    pipeline.tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        if path.name != exported.TOKENIZER_FILE:
            path.unlink()
    openvino = import_openvino()
    openvino.save_model(
        _quantised(pipeline, calibration), folder / exported.MODEL_FILE, compress_to_fp16=False
    )
    reference = TorchEncoder(source, pipeline)
    draft = exported.Manifest(
        model=source.name,
        recipe=exported.recipe(),
        dim=reference.dim,
        max_tokens=int(pipeline.max_seq_length or 512),
        files={path.name: exported.sha256(path) for path in sorted(folder.iterdir())},
        prompts=prompts_of(pipeline),
        fidelity_mean=0.0,
        fidelity_min=0.0,
        built_with={name: version(name) for name in _TOOLS},
    )
    cosines = (OpenVINOEncoder(folder, draft).encode(check) * reference.encode(check)).sum(axis=1)
    manifest = msgspec.structs.replace(
        draft, fidelity_mean=float(cosines.mean()), fidelity_min=float(cosines.min())
    )
    exported.check_fidelity(manifest)
    exported.write_manifest(folder, manifest)


def _quantised(pipeline: SentenceTransformer, calibration: list[str]) -> Any:  # noqa: ANN401 # ov.Model
    """Convert tokens -> normalised sentence embedding, and quantise it on the calibration texts."""
    openvino = import_openvino()
    with needs_extra("export"):
        import nncf  # noqa: PLC0415 # heavy
        import torch  # noqa: PLC0415 # heavy

    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pipeline = pipeline

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            token_type_ids: torch.Tensor | None = None,
        ) -> torch.Tensor:
            given = zip(_INPUTS, (input_ids, attention_mask, token_type_ids), strict=True)
            tokens = {name: tensor for name, tensor in given if tensor is not None}
            embedding = self.pipeline(tokens)["sentence_embedding"]
            return torch.nn.functional.normalize(embedding, dim=1)

    def tokenised(text: str) -> dict[str, NDArray[Any]]:
        tokens = pipeline.tokenizer(
            [text], truncation=True, max_length=pipeline.max_seq_length, return_tensors="np"
        )
        return {name: tokens[name] for name in _INPUTS if name in tokens}

    example = {name: torch.from_numpy(array) for name, array in tokenised(calibration[0]).items()}
    model = openvino.convert_model(Embedding().eval(), example_input=example)
    return nncf.quantize(
        model,
        nncf.Dataset(calibration, tokenised),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Export the model named on the command line; one line on standard error says why not."""
    warnings.simplefilter("ignore")  # the tracer's, about code that is not ours
    name, location, cache_dir = sys.argv[1:]
    try:
        export(ModelSource(name, location), Path(cache_dir))
    except CortexError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
