"""One query in one or two collections, and what differs between their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from viewkin.collection.reader import Query
from viewkin.explorer.shown_collection import ShownCollection
from viewkin.runtime.errors import UserError

Ask = Callable[[ShownCollection], Query | None]
"""Makes the query of a collection; None where the image is not in it."""


def answers(collections: Sequence[ShownCollection], ask: Ask, k: int) -> dict[str, Any]:
    """Ask every collection for the images nearest to the same query.

    Args:
        collections: one, or two to compare.
        ask: makes the query.
        k: how many of each.

    Returns:
        ``lists``, one for each collection: its ``matches``, or ``why`` there are none. Where there are two lists, each
        match has its ``other_rank`` in the other one, or None, and ``shared`` counts the keys that both hold.
    """
    lists = [_answer(one, ask, k) for one in collections]
    matches = [one["matches"] for one in lists]
    if len(lists) < 2 or not all(matches):
        return {"lists": lists, "shared": None}
    ranks = [{match["key"]: rank for rank, match in enumerate(found, 1)} for found in matches]
    for place, found in enumerate(matches):
        for match in found:
            match["other_rank"] = ranks[1 - place].get(match["key"])
    return {"lists": lists, "shared": len(ranks[0].keys() & ranks[1].keys())}


def _answer(collection: ShownCollection, ask: Ask, k: int) -> dict[str, Any]:
    try:
        query = ask(collection)
    except UserError as error:
        return {"matches": [], "why": str(error)}
    if query is None:
        return {"matches": [], "why": f"The image is not in {collection.name}."}
    return {"matches": collection.nearest(query, k), "why": None}
