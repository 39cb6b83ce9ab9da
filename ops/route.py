"""`cortex route`: decide without a queue."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from contracts.messages import Decision


def route(
    text: Annotated[str | None, typer.Argument(help="What is to be done.")] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(metavar="JSONL", help="One task a line, as for `cortex submit`; - is stdin."),
    ] = None,
    group: Annotated[
        Literal["control", "treatment"] | None, typer.Option(help="Force the arm.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the decision on TEXT, or one a line for a file. Needs no Redis.

    In treatment the champion decides: that of $MODEL_PATH or of $CORTEX_DATA_DIR/models, else the
    packaged one. Context is attached if there is a store at $VECTORSTORE_PATH, or in
    $CORTEX_DATA_DIR.
    """
    from ops.logs import log_to_stderr
    from ops.output import print_line, print_table
    from ops.session import read_settings
    from ops.tasks import read_tasks, single_task
    from worker.offline import route_offline

    log_to_stderr()
    if text is not None and file is None:
        tasks = [single_task(text)]
    elif file is not None and text is None:
        tasks = [each.task for each in read_tasks(file)]
    else:
        raise typer.BadParameter("give either TEXT or --file")
    decisions = route_offline(tasks, read_settings(), group)
    if as_json:
        from contracts.encode import encode_decision

        for decision in decisions:
            print_line(encode_decision(decision).decode())
    else:
        for decision in decisions:
            print_table(("decision", ""), _rows(decision))


def _rows(decision: "Decision") -> "list[tuple[str, object]]":
    return [
        ("task", decision.task_id),
        ("description", decision.description),
        ("master", decision.selected_master),
        ("method", decision.method),
        ("confidence", decision.confidence),
        ("group", decision.ab_test_group),
        ("context", decision.context_status),
        *(
            ("", f"{item.path}:{item.start_line}-{item.end_line} ({item.score:.2f})")
            for item in decision.context
        ),
    ]
