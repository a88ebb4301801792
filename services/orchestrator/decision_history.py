"""The decisions about a person, newest first: those about each of their ids, as one list."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable

from services.chassis.documents import Collection, Document
from services.chassis.engine import order, position, token

Place = tuple[int, str]
"""When a decision was made, and its document's id."""


async def newest_first(
    decisions: Collection, people: Iterable[str], asked: str, limit: int, after: str
) -> tuple[list[Document], str]:
    """A page of the decisions about `people`, and the token of the next, empty when there is none. Tokens belong to
    whom was `asked` for, so that they hold when somebody is merged between two pages. Raises `InvalidPageToken`."""
    name = order("decisions", asked)
    before: Place | None = None
    if after:
        at, id_ = position(name, after, 2)
        before = int(at), str(id_)
    # One more, to see whether there is a next page.
    found = await asyncio.gather(*(_older(decisions, person, before, limit + 1) for person in people))
    newest = heapq.nlargest(limit + 1, (one for documents in found for one in documents), key=_place)
    page = newest[:limit]
    return page, token(name, _place(page[-1])) if len(newest) > limit else ""


async def _older(decisions: Collection, person: str, before: Place | None, limit: int) -> list[Document]:
    """The newest decisions about one id that are older than this."""
    found: list[Document] = []
    after = ""
    while True:
        page = await decisions.query(
            "by_profile", person, below=before and before[0] + 1, limit=limit, after=after, descending=True
        )
        # Of one instant some may have been on the page before.
        found += [document for document in page.documents if before is None or _place(document) < before]
        after = page.next
        if len(found) >= limit or not after:
            return found[:limit]


def _place(decision: Document) -> Place:
    return decision.body["at"], decision.id
