"""`cortex dead`: look at dead letters, put them back, or delete them."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from ops.session import Session

app = typer.Typer(no_args_is_help=True, help="Look at dead letters, replay or purge them.")

EntryId = Annotated[str, typer.Argument(metavar="ID", help="As `cortex dead list` shows it.")]
OptionalId = Annotated[str | None, typer.Argument(metavar="[ID]")]
All = Annotated[bool, typer.Option("--all", help="All of them, or all with --reason.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason.")]

_SHOWN = 60  # characters of the detail in the list


@app.command("list")
def list_letters(
    *,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the oldest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the oldest first."""
    from itertools import islice

    from ops.output import print_json, print_table
    from ops.session import open_session
    from streams.dead import list_dead

    with open_session() as (client, keys, _):
        letters = list(islice(list_dead(client, keys, reason=reason), limit))
    if as_json:
        print_json([{"id": entry_id, "letter": letter} for entry_id, letter in letters])
        return
    print_table(
        ("id", "reason", "source", "task", "attempts", "at", "detail"),
        [
            (
                entry_id,
                letter.reason,
                letter.source,
                letter.payload.get("task_id"),
                letter.attempts,
                letter.at,
                letter.detail[:_SHOWN],
            )
            for entry_id, letter in letters
        ],
    )


@app.command()
def show(entry_id: EntryId, *, as_json: AsJson = False) -> None:
    """Show one dead letter with its original fields."""
    import msgspec

    from contracts.errors import FatalError
    from ops.output import print_json, print_table
    from ops.session import open_session
    from streams.dead import show_dead

    with open_session() as (client, keys, _):
        letter = show_dead(client, keys, entry_id)
    if letter is None:
        raise FatalError(f"no dead letter {entry_id}")
    if as_json:
        print_json({"id": entry_id, "letter": letter})
        return
    known = msgspec.structs.asdict(letter)
    rows = [(name, known[name]) for name in ("reason", "detail", "source", "entry_id", "at")]
    print_table(("field", "value"), [*rows, ("attempts", letter.attempts)])
    print_table(("payload", ""), letter.payload.items())


@app.command()
def replay(
    entry_id: OptionalId = None,
    *,
    every: All = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back on the stream they came from, with their original fields."""
    from contracts.errors import FatalError
    from ops.output import print_json, print_line
    from ops.session import open_session
    from streams.dead import replay_dead

    with open_session() as session:
        results = {
            each: replay_dead(*session[:2], each)
            for each in _chosen(session, entry_id, reason, every=every)
        }
    if as_json:
        print_json(results)
    else:
        for each, result in results.items():
            print_line(f"{each} {result}")
    if refused := [each for each, result in results.items() if result != "replayed"]:
        raise FatalError(f"not replayed: {', '.join(refused)}")


@app.command()
def purge(
    entry_id: OptionalId = None,
    *,
    every: All = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good."""
    from ops.output import print_json, print_line
    from ops.session import open_session
    from streams.dead import purge_dead

    with open_session() as session:
        count = purge_dead(*session[:2], _chosen(session, entry_id, reason, every=every))
    if as_json:
        print_json({"purged": count})
    else:
        print_line(f"{count} purged")


def _chosen(
    session: "Session", entry_id: str | None, reason: str | None, *, every: bool
) -> list[str]:
    from streams.dead import list_dead

    if (entry_id is None) != every or (entry_id is not None and reason is not None):
        raise typer.BadParameter("give either an ID or --all, the latter with --reason if you like")
    if entry_id is not None:
        return [entry_id]
    return [each for each, _letter in list_dead(*session[:2], reason=reason)]
