"""`cortex search`: retrieval alone."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson, Store

if TYPE_CHECKING:
    from ops.retrieval import Found

_SHOWN_LINES = 6  # of each place


def search(  # noqa: PLR0913 - options are a command's arguments
    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    *,
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="JSONL", help='One {"query", "id"?} a line; - is stdin. Prints JSON lines.'
        ),
    ] = None,
    store: Store = None,
    count: Annotated[int, typer.Option("-k", min=1, help="Most results.")] = 5,
    graph: Annotated[
        bool, typer.Option("--graph", help="Show the files around each place, by kind.")
    ] = False,
    master: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Search what this master's tasks get context from."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the places in the index that fit TEXT, or each query of a file. Needs no Redis."""
    if (text is None) == (queries is None):
        raise typer.BadParameter("give either TEXT or --queries")
    from ops.logs import log_to_stderr
    from ops.output import print_json
    from ops.retrieval import Query, Searcher, read_queries

    log_to_stderr()
    searcher = Searcher(store, master, graph=graph)
    if queries is not None:
        for query in read_queries(queries):
            print_json(searcher.search(query, count))
        return
    found = searcher.search(Query(text or ""), count)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: "Found") -> None:
    from msgspec import UnsetType
    from msgspec.structs import asdict

    from ops.output import print_line, remark

    several = len({place.collection for place in found.results}) > 1
    for place in found.results:
        symbol = f"  {place.symbol}" if place.symbol else ""
        label = f"{place.collection}: " if several else ""
        lines = f"{place.start_line}-{place.end_line}"
        print_line(f"{label}{place.path}:{lines}  {place.score:.3f}{symbol}")
        for line in place.text.splitlines()[:_SHOWN_LINES]:
            print_line(f"    {line}")
        if not isinstance(place.graph, UnsetType):
            for kind, paths in asdict(place.graph).items():
                if paths:
                    print_line(f"  {kind.replace('_', ' ')}: {', '.join(paths)}")
    if not found.results:
        remark("nothing relevant found")
