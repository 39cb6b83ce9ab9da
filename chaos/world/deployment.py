"""What every run of the world starts from."""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.world.play import Player
from learning.examples import read_examples
from learning.fitting import Recipe
from learning.nightly import RoundSettings
from learning.train import TrainSettings
from learning.workshop import PACKAGED, SEEDS
from registry.opening import open_model
from router.masters import Masters
from router.policy import Policy
from router.rules import Rules
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from chaos.world.play import Scenario
    from contracts.messages import RolloutConfig

# A recipe that the choice among all comes to again and again, so that a night takes seconds.
QUICK = RoundSettings(
    training=TrainSettings(
        folds=2, recipe=Recipe(joint=30.0, lexical=100.0, share=0.5, weighed=False)
    )
)


class Deployment:
    """What every run starts from: our masters, rules, seed examples and the model as shipped.

    Attributes:
        encoder: embeds the tasks; remembers them from run to run.
    """

    def __init__(self, home: Path, one_in: int = 1) -> None:
        """Open the encoder.

        Args:
            home: runs have their folders here.
            one_in: of so many seed examples one is used, to save time.
        """
        self._home = home
        self._masters_text = files("router").joinpath("masters.toml").read_text("utf-8")
        self._rules_text = files("router").joinpath("rules.toml").read_text("utf-8")
        self.encoder = CachedEncoder(open_encoder(), None)
        self._seeds = read_examples(SEEDS)[::one_in]

    def player(self, scenario: Scenario) -> Player:
        """Set up a deployment of its own, in which nothing was learned yet."""
        return Player(
            scenario,
            Path(tempfile.mkdtemp(dir=self._home)),
            encoder=self.encoder,
            first=PACKAGED,
            seeds=self._seeds,
            masters_text=self._masters_text,
            rules_text=self._rules_text,
            settings=QUICK,
        )

    def policy(self, config: RolloutConfig) -> Policy:
        """Return what decides before anything was learned."""
        masters = Masters.parse(self._masters_text)
        model = open_model(PACKAGED, masters=masters.names)
        return Policy(masters, Rules.parse(self._rules_text, masters), model, config)
