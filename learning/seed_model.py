"""Trains the model that is shipped: `python -m learning.seed_model`, or `make seed-model`.

It learns from lines that we wrote (`learning/seed/examples.jsonl`), and will be asked about lines
that others write. What fits the former best is not best for the latter: held back among our own,
the rules look worse and words look better than they are. So the recipe is fixed. It was chosen on
commit subjects of public repositories, which are no part of the product; docs/log.md has figures.
"""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path

from learning.examples import read_examples
from learning.fitting import Recipe
from learning.train import TrainSettings, train
from learning.workshop import PACKAGED, SEEDS
from router.masters import Masters
from router.rules import Rules
from vectors.encoder import open_encoder

SETTINGS = TrainSettings(recipe=Recipe(joint=0.3, lexical=3.0, share=0.5, rules=0.8), doubt=1.6)


def main() -> None:
    """Train it from scratch and put it where the package has it."""
    masters = Masters.parse(files("router").joinpath("masters.toml").read_text("utf-8"))
    trained = train(
        read_examples(SEEDS),
        encoder=open_encoder(),
        rules=Rules.parse(files("router").joinpath("rules.toml").read_text("utf-8"), masters),
        masters=masters,
        settings=SETTINGS,
        progress=_report,
    )
    shutil.rmtree(PACKAGED, ignore_errors=True)
    sys.stdout.write(f"{trained.write(Path(PACKAGED))}\n")


def _report(step: str, done: int, total: int) -> None:
    sys.stderr.write(f"{step} {done}/{total}\n")


if __name__ == "__main__":
    main()
