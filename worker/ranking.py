"""Which of the places that were found a master gets. Pure: scores, weights and paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from router.preferences import weight_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.masters import Master
    from vectors.types import Hit

DEPTH = 2
"""How many times as many hits as are kept are looked at: a mild weight lifts none from further."""


def prefer(hits: Sequence[Hit], master: Master, k: int) -> list[Hit]:
    """Weigh hits as a master would have them and keep the best.

    Scores are multiplied by the weights of collection and path, as shares of the highest weights
    there are, so that they stay within 0-1. The best place of each file comes before a second one
    of any, as in the search.

    Args:
        hits: `DEPTH` times k where there are so many, all of one search.
        master: whose preferences count.
        k: most hits kept.

    Returns:
        At most k hits, by falling weighted score.
    """
    by_collection = {source.name: source.weight for source in master.sources}
    highest = max(by_collection.values()) * max(
        [1.0, *(preference.weight for preference in master.prefer)]
    )

    def weight(hit: Hit) -> float:
        of_collection = by_collection.get(hit.collection, 1.0)
        return of_collection * weight_of(master.prefer, hit.path) / highest

    weighed = sorted((replace(hit, score=hit.score * weight(hit)) for hit in hits), key=_order)
    first: dict[tuple[str, str], Hit] = {}
    others = [
        hit for hit in weighed if first.setdefault((hit.collection, hit.path), hit) is not hit
    ]
    return sorted([*first.values(), *others][:k], key=_order)


def _order(hit: Hit) -> tuple[float, str, str, int]:
    return -hit.score, hit.collection, hit.path, hit.start_line
