"""A sentence-transformers model that is real, random and small."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from vectors.model_source import resolve

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = """
import sys
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel
import torch

torch.manual_seed(7)
source, folder = sys.argv[1:]
AutoTokenizer.from_pretrained(source).save_pretrained(folder + "/bert")
config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=64, max_position_embeddings=64)
BertModel(config).save_pretrained(folder + "/bert")
bert = Transformer(folder + "/bert", max_seq_length=64)
SentenceTransformer(modules=[bert, Pooling(32)]).save(folder + "/small")
"""


def small_encoder(folder: Path) -> Path:
    """Make one with 32 dimensions; returns its folder. Torch stays in a process of its own."""
    script = [sys.executable, "-c", _SCRIPT, resolve(None).location, str(folder)]
    subprocess.run(script, check=True, capture_output=True)
    return folder / "small"
