"""What happened to a profile, newest first: read under its own id, and under those of profiles that were merged into
it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.chassis.documents import Collection, Document
from services.chassis.engine import order, position, token

_PAGES = 10
"""Pages of one source that are looked through for what is asked, before a page is given that isn't full."""
_SKIPPED = 1_000
"""Documents that are read at once where all have the instant at which the page before ended."""

Position = tuple[int, str]
"""An instant and a document's id: newer ones are greater."""


@dataclass(frozen=True, slots=True)
class Source:
    """A collection with an index `by_profile`, and which of its documents are asked for."""

    collection: Collection
    wanted: Callable[[Document], bool] = field(default=lambda document: True)


async def newest_first(
    sources: Sequence[Source], profile_keys: Sequence[str], limit: int, after: str, *asked: str
) -> tuple[list[Document], str]:
    """A page of what the sources have of these profiles, and the token of the next, empty when there is none. A page
    may be short, or empty, and have a next one. `asked` is what makes this another list than the same without.

    Raises `InvalidPageToken`.
    """
    name = order("history", profile_keys[0], *asked)
    start: Position | None = None
    if after:
        at, id_ = position(name, after, 2)
        start = int(at), str(id_)
    found: list[Document] = []
    horizon: Position | None = None
    for source in sources:
        for key in profile_keys:
            documents, end = await _read(source, key, limit, start)
            found += documents
            if end is not None and (horizon is None or end > horizon):
                horizon = end
    found.sort(key=_position, reverse=True)
    # Beyond where one of them was looked through, others' would come too early.
    page = [document for document in found if horizon is None or _position(document) >= horizon][:limit]
    if len(page) == limit and (len(page) < len(found) or horizon is not None):
        return page, token(name, list(_position(page[-1])))
    return page, token(name, list(horizon)) if horizon is not None else ""


async def _read(source: Source, key: str, limit: int, start: Position | None) -> tuple[list[Document], Position | None]:
    """What a source has of one profile, older than `start`: up to `limit`, and where looking ended if there is more."""
    found: list[Document] = []
    below = start[0] + 1 if start else None
    after = ""
    last: Position | None = None
    size = limit
    looked = 0
    while looked < _PAGES:
        page = await source.collection.query("by_profile", key, below=below, limit=size, after=after, descending=True)
        for document in page.documents:
            last = _position(document)
            if (start is None or last < start) and source.wanted(document):
                found.append(document)
                if len(found) == limit:
                    return found, last
        if not page.next:
            return found, None
        after = page.next
        if start is None or last is None or last < start:
            looked += 1
        else:
            # Nothing of it was looked for. Were that counted, a page could end before the one before it did.
            size = _SKIPPED
    return found, last


def _position(document: Document) -> Position:
    return document.body["at"], document.id
