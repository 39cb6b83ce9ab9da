"""`cortex search`: retrieval alone."""

from typing import TYPE_CHECKING, Annotated

import typer

from ops.options import AsJson, Store

if TYPE_CHECKING:
    from ops.retrieval import Found

_SHOWN_LINES = 6  # of each place


def search(
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
    as_json: AsJson = False,
) -> None:
    """Find the places in the index that fit TEXT, or each query of a file. Needs no Redis."""
    if (text is None) == (queries is None):
        raise typer.BadParameter("give either TEXT or --queries")
    from ops.logs import log_to_stderr
    from ops.output import print_json
    from ops.retrieval import Query, Searcher, read_queries

    log_to_stderr()
    searcher = Searcher(store)
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
    from ops.output import print_line, remark

    for hit in found.results:
        symbol = f"  {hit.symbol}" if hit.symbol else ""
        print_line(f"{hit.path}:{hit.start_line}-{hit.end_line}  {hit.score:.3f}{symbol}")
        for line in hit.text.splitlines()[:_SHOWN_LINES]:
            print_line(f"    {line}")
    if not found.results:
        remark("nothing relevant found")
