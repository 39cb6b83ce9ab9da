"""`cortex evaluate`: how good a router is on labelled lines, and why it is wrong where it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from learning.assess import Neural
    from learning.evaluation import Evaluation
    from worker.settings import Settings


def evaluate(  # noqa: PLR0913 - one for each option
    *,
    model: Annotated[
        str, typer.Option(help="A folder, a version, an alias, or `rules` for the rules alone.")
    ] = "champion",
    data: Annotated[
        list[Path],
        typer.Option(
            help='Lines {"text", "label"}; the label `oos` is for what belongs to no label. Give'
            " it more than once to evaluate several files as one."
        ),
    ],
    report: Annotated[
        Path | None,
        typer.Option(help="Write a report, to OUT.html or, with PNG files beside it, to OUT.md."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="What it was trained on, to show similar examples from.")
    ] = None,
    wrong: Annotated[int, typer.Option(min=0, help="How many wrong lines to explain.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Evaluate a router on labelled lines, beside the rules on the same lines.

    Needs no Redis. Embeddings are kept in $CORTEX_DATA_DIR, so that a second run is quick.
    """
    from learning.assess import Control, Explaining, assess
    from learning.examples import read_examples
    from ops.logs import log_to_stderr
    from ops.output import print_json, progress_bar, remark
    from ops.session import read_settings
    from router.masters import Masters
    from router.rules import Rules

    log_to_stderr()
    if report is not None:
        from learning.report import check_path, write_report

        check_path(report)
    examples = [example for path in data for example in read_examples(path)]
    training = None if train is None else read_examples(train)
    settings = read_settings()
    masters = Masters.parse(settings.masters_text)
    with progress_bar("evaluating") as show:
        measured = assess(
            examples,
            None if model == "rules" else _open(model, settings),
            Control(rules=Rules.parse(settings.rules_text, masters), masters=masters),
            explaining=Explaining(wrong=wrong, training=training),
            progress=show,
        )
    if report is not None:
        write_report(report, measured, ", ".join(path.name for path in data))
        remark(f"the report is in {report}")
    if as_json:
        print_json(measured.evaluation)
    else:
        _print(measured.evaluation)


def _open(name: str, settings: "Settings") -> "Neural":
    from learning.assess import Neural
    from registry.opening import open_model
    from vectors.embedding_cache import CachedEncoder
    from vectors.encoder import open_encoder
    from vectors.model_source import resolve

    model = open_model(_folder(name, settings), embedder=resolve(settings.encoder).name)
    cache = Path(settings.data_dir, "embeddings.sqlite")
    return Neural(model, CachedEncoder(open_encoder(settings.encoder), cache))


def _folder(name: str, settings: "Settings") -> Path:
    """Return the folder of a model: as given, or as workers with these settings would find it."""
    from contracts.errors import FatalError
    from worker.model_folders import model_folders

    if Path(name).is_dir():
        return Path(name)
    found = model_folders(settings).find(name)
    if "champion" not in found:
        raise FatalError("there is no model yet; `cortex train` makes one")
    return found["champion"]


def _print(evaluation: "Evaluation") -> None:
    from learning.report import figures, summary
    from ops.output import print_line, print_table

    for sentence in summary(evaluation):
        print_line(sentence)
    print_line("")
    for each in figures(evaluation):
        print_table(each.columns, each.rows)
        print_line("")
    if evaluation.latency_us:
        print_line(
            f"head, one text: p50 {evaluation.latency_us.p50:g} µs, "
            f"p99 {evaluation.latency_us.p99:g} µs"
        )
