"""What every run of the world starts from."""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.world.play import Player
from learning.examples import read_examples
from learning.nightly import RoundSettings
from learning.train import TrainSettings, train
from learning.workshop import SEEDS
from router.masters import Masters
from router.rules import Rules
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from chaos.world.play import Scenario

# One strength and two folds: a night takes seconds, and hundreds of them are played.
QUICK = RoundSettings(training=TrainSettings(folds=2))


class Deployment:
    """What every run starts from: our masters and rules, and a seed model of the seed examples."""

    def __init__(self, home: Path) -> None:
        """Open the encoder, and train the seed model in a folder."""
        self._home = home
        self._masters_text = files("router").joinpath("masters.toml").read_text("utf-8")
        self._rules_text = files("router").joinpath("rules.toml").read_text("utf-8")
        self._encoder = CachedEncoder(open_encoder(), None)
        self._seeds = read_examples(SEEDS)
        masters = Masters.parse(self._masters_text)
        self._first = home / "seed"
        train(
            self._seeds,
            encoder=self._encoder,
            rules=Rules.parse(self._rules_text, masters),
            masters=masters,
            settings=QUICK.training,
        ).write(self._first)

    def player(self, scenario: Scenario) -> Player:
        """Set up a deployment of its own, in which nothing was learned yet."""
        return Player(
            scenario,
            Path(tempfile.mkdtemp(dir=self._home)),
            encoder=self._encoder,
            first=self._first,
            seeds=self._seeds,
            masters_text=self._masters_text,
            rules_text=self._rules_text,
            settings=QUICK,
        )
