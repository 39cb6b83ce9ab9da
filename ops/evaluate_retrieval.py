"""`cortex evaluate-retrieval`: how good retrieval is, by what a repository's own history says."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from indexer.evaluation.run import Report

_SHOWN_LANGUAGES = 8


def evaluate_retrieval(  # noqa: PLR0913 - the options of a command
    *,
    repo: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="A git repository; only read.")
    ],
    commits: Annotated[int, typer.Option(min=1, help="How many commits to ask for.")] = 300,
    live: Annotated[
        bool,
        typer.Option("--live", help="Learn from each commit before the next, as workers would."),
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Whether past commits are remembered.")
    ] = True,
    foreign: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Questions from elsewhere, one a line: for how many is nothing found?",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go back COMMITS commits, index the tree of then, and ask for what each commit was about.

    Only what came before is known. Needs no Redis. Embeddings are kept in $CORTEX_DATA_DIR.
    """
    from indexer.evaluation.run import evaluate
    from ops.engines import measured_engine
    from ops.logs import log_to_stderr
    from ops.output import print_json, progress_bar
    from ops.session import read_settings
    from vectors.embedding_cache import CachedEncoder
    from vectors.encoder import open_encoder

    log_to_stderr()
    settings = read_settings()
    cache = Path(settings.data_dir, "embeddings.sqlite")
    encoder = CachedEncoder(open_encoder(settings.encoder, side="passage"), cache)
    asking = CachedEncoder(open_encoder(settings.encoder), cache)
    lines = foreign.read_text(errors="replace").splitlines() if foreign else []
    questions = [line.strip() for line in lines if line.strip()]
    with progress_bar("evaluating") as show, measured_engine(settings) as engine:
        report = evaluate(
            repo,
            encoder,
            asking=asking,
            engine=engine,
            count=commits,
            live=live,
            memory=memory,
            foreign=questions,
            progress=show,
        )
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: "Report") -> None:
    from ops.output import print_line, print_table

    print_line(
        f"{report.figures.n} commits after {report.revision[:12]}: {report.files} files,"
        f" {report.chunks} chunks, {report.commits} commits remembered"
    )
    print_line("")
    print_table(("measure", "value", "95 % interval"), _rows(report))
    print_line("")
    print_table(
        ("touched", "commits", "hit at 5", "recall at 5"),
        [
            (suffix, each.n, f"{each.hit_at_5.value:.3f}", f"{each.recall_at_5.value:.3f}")
            for suffix, each in [*report.per_language.items()][:_SHOWN_LANGUAGES]
        ],
    )
    print_line("")
    print_line(
        f"a question: p50 {report.latency_ms.p50:.1f} ms, p99 {report.latency_ms.p99:.1f} ms;"
        f" index: {report.index_seconds:.1f} s, {report.index_bytes / 1e6:.1f} MB"
    )


def _rows(report: "Report") -> list[tuple[str, str, str]]:
    import msgspec

    measured = msgspec.structs.asdict(report.figures)
    del measured["n"]
    if report.foreign_empty is not None:
        measured[f"empty, of {report.foreign} from elsewhere"] = report.foreign_empty
    return [
        (name.replace("_", " "), f"{each.value:.3f}", f"{each.low:.3f} - {each.high:.3f}")
        for name, each in measured.items()
    ]
