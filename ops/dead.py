"""`cortex dead`: look at dead letters, put them back, or delete them.

A dead letter is known by its id in the dead-letter stream; where the queue has partitions, followed
by `@` and the partition's tag, since each has a stream of its own.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contracts.messages import DeadLetter
    from ops.session import Session
    from streams.keys import Keys

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

    with open_session() as session:
        letters = list(islice(_letters(session, reason), limit))
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

    with open_session() as session:
        letter = show_dead(session.client, *_find(session, entry_id))
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
    """Put dead letters back on the stream they came from, with their original fields.

    Each goes back once, however often and by however many this is asked for.
    """
    from contracts.errors import FatalError
    from ops.output import print_json, print_line
    from ops.session import open_session

    results: dict[str, str] = {}
    with open_session() as session:
        for each in _chosen(session, entry_id, reason, every=every):
            results[each] = _replay(session, each)
            if not as_json:
                print_line(f"{each} {results[each]}")
    if as_json:
        print_json(results)
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
        chosen = [_find(session, each) for each in _chosen(session, entry_id, reason, every=every)]
        count = sum(
            purge_dead(session.client, keys, [each for part, each in chosen if part == keys])
            for keys in session.buried
        )
    if as_json:
        print_json({"purged": count})
    else:
        print_line(f"{count} purged")


def _chosen(
    session: "Session", entry_id: str | None, reason: str | None, *, every: bool
) -> list[str]:
    if (entry_id is None) != every or (entry_id is not None and reason is not None):
        raise typer.BadParameter("give either an ID or --all, the latter with --reason if you like")
    if entry_id is not None:
        return [entry_id]
    return [each for each, _letter in _letters(session, reason)]


def _replay(session: "Session", shown: str) -> str:
    from contracts.errors import PoisonError
    from streams.dead import replay_dead

    try:
        return replay_dead(session.client, *_find(session, shown))
    except PoisonError as error:  # the others are none the worse for it
        return str(error)


def _letters(session: "Session", reason: str | None) -> "Iterator[tuple[str, DeadLetter]]":
    """Yield the id, as it is shown, and content of every dead letter, the oldest first."""
    from heapq import merge

    from streams.dead import list_dead

    def of_part(keys: "Keys") -> "Iterator[tuple[str, DeadLetter]]":
        tag = "" if keys.partition is None else f"@{keys.partition}"
        for entry_id, letter in list_dead(session.client, keys, reason=reason):
            yield f"{entry_id}{tag}", letter

    return merge(*map(of_part, session.buried), key=lambda each: _when(each[0]))


def _when(shown: str) -> tuple[int, int]:
    milliseconds, _, number = shown.partition("@")[0].partition("-")
    return int(milliseconds), int(number)


def _find(session: "Session", shown: str) -> "tuple[Keys, str]":
    """Return the names of its partition, and the id of a dead letter.

    Raises:
        FatalError: there is no such partition.
    """
    from contracts.errors import FatalError

    entry_id, _, tag = shown.partition("@")
    for keys in session.buried:
        if (keys.partition or "") == tag:
            return keys, entry_id
    raise FatalError(f"no dead letter {shown}: give its id as `cortex dead list` shows it")
