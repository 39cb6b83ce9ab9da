"""`cortex train`: from labelled lines to a model folder."""

from pathlib import Path
from typing import Annotated

import typer

from ops.options import AsJson


def train(
    *,
    data: Annotated[
        list[Path],
        typer.Option(
            help='Lines {"text", "label"}, and if you like "weight" and "source"; the label `oos`'
            " is for what belongs to no label. Give it more than once to train on several files."
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder of the model; must not exist yet, or be empty.")
    ],
    seed: Annotated[int, typer.Option(help="Training repeats itself from it.")] = 0,
    background: Annotated[
        bool,
        typer.Option(help="Learn from the shipped seed examples too, where labels are masters."),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Train a model and write it, sealed, to a folder. Needs no Redis.

    Labels may be masters or anything else; `cortex model add` puts a model of masters to work.
    """
    from contracts.errors import FatalError
    from learning.examples import read_examples
    from learning.train import TrainSettings
    from learning.train import train as train_model
    from learning.workshop import SEEDS
    from ops.logs import log_to_stderr
    from ops.output import print_json, print_table, progress_bar
    from ops.session import read_settings
    from router.masters import Masters
    from router.rules import Rules
    from vectors.embedding_cache import CachedEncoder
    from vectors.encoder import open_encoder

    log_to_stderr()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FatalError(f"{output} exists already")
    examples = [example for path in data for example in read_examples(path)]
    settings = read_settings()
    masters = Masters.parse(settings.masters_text)
    encoder = open_encoder(settings.encoder)
    with progress_bar("training") as show:
        trained = train_model(
            examples,
            encoder=CachedEncoder(encoder, Path(settings.data_dir, "embeddings.sqlite")),
            rules=Rules.parse(settings.rules_text, masters),
            masters=masters,
            background=read_examples(SEEDS) if background else (),
            settings=TrainSettings(seed=seed),
            progress=lambda _step, done, total: show(done, total),
        )
    version = trained.write(output)
    summary = {"version": version, "examples": trained.config.trained_on, **trained.metrics}
    if as_json:
        print_json(summary | {"output": str(output), "labels": trained.config.labels})
    else:
        print_table(("model", str(output)), summary.items())
