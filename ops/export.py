"""`cortex export`: the data set as training lines."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from learning.examples import Example
    from learning.labels import Lessons


def export(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="Default: stdout.")
    ] = None,
    format_: Annotated[
        Literal["jsonl", "parquet"], typer.Option("--format", help="Parquet needs --output.")
    ] = "jsonl",
    since: Annotated[
        str | None,
        typer.Option(help="Only what was decided since then: 2026-11-01, or with a time of day."),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=0, help="Of the data set. Default: the latest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a training line for each text with an outcome: its text, label and weight.

    What was exported is summed up on stdout, or on stderr where the lines themselves go there.
    """
    from learning.dataset import Dataset
    from learning.labels import teach
    from learning.settings import dataset_folder
    from ops.session import read_settings
    from router.masters import Masters

    if format_ == "parquet" and output is None:
        raise typer.BadParameter("--format parquet needs --output")
    since_ms = 0 if since is None else _milliseconds(since)
    settings = read_settings()
    dataset = Dataset(dataset_folder(settings.data_dir))
    version = dataset.version if version is None else version
    reported = (each for each in dataset.reported(version) if each.decision.at_ms >= since_ms)
    lessons = teach(reported, Masters.parse(settings.masters_text).names)
    _write(lessons.examples, output, format_)
    _sum_up(version, dataset.fingerprint(version), lessons, as_json=as_json, aside=output is None)


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--since: {error}") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, int(moment.timestamp() * 1_000))


def _write(examples: "list[Example]", output: Path | None, format_: str) -> None:
    import msgspec

    from contracts.errors import FatalError

    if output is None:
        for example in examples:
            sys.stdout.buffer.write(msgspec.json.encode(example) + b"\n")
        sys.stdout.buffer.flush()
        return
    written = output.with_name(f"{output.name}.new")
    try:
        if format_ == "parquet":
            from learning.tables import write_examples

            write_examples(written, examples)
        else:
            with written.open("wb") as lines:
                lines.writelines(msgspec.json.encode(example) + b"\n" for example in examples)
        written.replace(output)
    except OSError as error:
        raise FatalError(f"cannot write {output}: {error.strerror}") from error


def _sum_up(
    version: int, fingerprint: str, lessons: "Lessons", *, as_json: bool, aside: bool
) -> None:
    from collections import Counter

    import msgspec

    from ops.output import print_line, remark

    labels = Counter(example.label for example in lessons.examples)
    summary = {
        "version": version,
        "fingerprint": fingerprint,
        "examples": len(lessons.examples),
        "per_label": dict(sorted(labels.items())),
        "unknown_masters": dict(sorted(lessons.unknown.items())),
        "unlabelled": lessons.unlabelled,
        "contested": lessons.contested,
    }
    if as_json:
        text = msgspec.json.encode(summary).decode()
    else:
        shares = ", ".join(f"{name} {count:,}" for name, count in sorted(labels.items()))
        text = f"{len(lessons.examples):,} examples of version {version}: {shares or 'none yet'}"
        if lessons.unknown:
            text += f"; left out: {lessons.unknown.total():,} outcomes of masters that are gone"
    (remark if aside else print_line)(text)
