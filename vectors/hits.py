"""From the results of a search to what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vectors.types import Hit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vectors.search import Ranked
    from vectors.types import Chunk
    from vectors.view import Place, View


def read_hits(
    view: View, found: Sequence[Sequence[Ranked]], whose: Callable[[Place], tuple[str, str]]
) -> list[list[Hit]]:
    """Read the chunks of results; what several texts found is read once.

    Args:
        view: what was searched.
        found: of each text.
        whose: gives the collection of a place, and its path there.
    """
    chunks = _read(view, found)
    return [
        [_hit(whose(place), chunks[place.segment, place.id], score) for place, score in ranked]
        for ranked in found
    ]


def _read(view: View, found: Sequence[Sequence[Ranked]]) -> dict[tuple[int, int], Chunk]:
    wanted: dict[int, dict[int, None]] = {}
    for ranked in found:
        for place, _ in ranked:
            wanted.setdefault(place.segment, {})[place.id] = None
    return {
        (number, id_): chunk
        for number, ids in wanted.items()
        for id_, chunk in zip(ids, view.segments[number].chunks([*ids]), strict=True)
    }


def _hit(whose: tuple[str, str], chunk: Chunk, score: float) -> Hit:
    collection, path = whose
    return Hit(
        collection=collection,
        path=path,
        start_line=chunk.start_line,
        end_line=chunk.end_line,
        symbol=chunk.symbol,
        kind=chunk.kind,
        text=chunk.text,
        score=score,
    )
