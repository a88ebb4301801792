"""The storage contract: documents with a revision and declared indexes, in batches.

Everything a service keeps is a document: an id, a revision, a body, and whatever its declared indexes take
from the body. There are no multi-document transactions: what must be atomic lives in one document. Each
operation works on a batch and is one round trip; each *document* of a batch is written atomically, and a write
that was reported as saved survives the death of any process and of the machine.

Two engines implement exactly this (`sqlite`, `mongo`), and one conformance suite holds them to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import random
from typing import Any, Protocol

from services.chassis.errors import Contention

Value = str | int | float | bool | bytes
"""What an index can hold, but NaN. An index compares values of one type only, and bytes of one length only."""


@dataclass(frozen=True, slots=True)
class Index:
    """An ordering of a collection by some fields of the body, then by id.

    `fields` are top-level names in the body. A document that lacks one of them, or has None there, isn't in the index:
    so "what is still pending" is a field that goes away when it's done.
    """

    name: str
    fields: tuple[str, ...]


class Owner(Enum):
    """Whose the documents of a collection are."""

    WORKSPACE = "workspace"
    """Each is some workspace's: its id is that workspace's, or begins with it and a slash."""
    SERVICE = "service"
    """The service's own, whichever workspaces there are."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A collection's name, its declared indexes, and whose its documents are."""

    name: str
    indexes: tuple[Index, ...] = ()
    owner: Owner = field(kw_only=True)


@dataclass(slots=True)
class Document:
    """An id, a body of BSON values, and the revision it was read at; 0 means it's new.

    An id is any text without U+0000. Revisions grow by steps of any size, and none comes again when an id does.
    A body may hold None, bool, int (64-bit), float, str, bytes, lists and dicts with string keys.
    """

    id: str
    body: dict[str, Any]
    rev: int = 0


@dataclass(slots=True)
class PutResult:
    """Which ids were written and which not; together they are the ids that were asked."""

    saved: list[str] = field(default_factory=list)
    conflicted: list[str] = field(default_factory=list)
    """A document with another revision, or none, is there."""
    duplicate: list[str] = field(default_factory=list)
    """A new document's id is taken."""


@dataclass(slots=True)
class Page:
    """Some documents in order, and a cursor to the rest; empty when there is no more."""

    documents: list[Document]
    next: str = ""


class Collection(Protocol):
    """A set of documents of one kind.

    Every operation raises `StoreUnavailable` when the engine can't be reached or can't write (a full disk); then
    nothing of it is known to be done, and it may be repeated.
    """

    async def get(self, ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids; those that don't exist are left out."""
        ...

    async def put(self, documents: Sequence[Document]) -> PutResult:
        """Write each document: insert it if `rev` is 0 and its id is free, replace it if its revision is still `rev`.

        A saved document's `rev` is set to its new revision. The ids within one call are distinct (ValueError
        otherwise). What can't be encoded or indexed raises what BSON raises, or TypeError, before anything is written.
        """
        ...

    async def query(
        self,
        index: str,
        *equal: Value,
        at_least: Value | None = None,
        below: Value | None = None,
        limit: int,
        after: str = "",
        descending: bool = False,
    ) -> Page:
        """Documents in an index's order whose first fields equal `equal` and whose next field is in [at_least, below).

        `after` is the `next` of the page before. Raises `InvalidPageToken` when it isn't one, and ValueError for a
        limit below 1, or an index that isn't declared or has too few fields.
        """
        ...

    async def scan(self, *, limit: int, after: str = "", prefix: str = "") -> Page:
        """Documents in the order of their ids, those that begin with `prefix`. `after` is the `next` of the page
        before, or what `engine.scan_token` makes of an id."""
        ...

    async def delete(self, ids: Iterable[str]) -> int:
        """Delete the documents with these ids, whatever their revision. How many there were."""
        ...

    async def count(self, index: str, *equal: Value, at_least: Value | None = None, below: Value | None = None) -> int:
        """How many documents `query` would yield in all."""
        ...


class Database(Protocol):
    """One service's collections."""

    def collection(self, schema: Schema) -> Collection:
        """The collection of a schema. Its tables and indexes are made by `migrate`."""
        ...

    async def migrate(self, schemas: Iterable[Schema]) -> None:
        """Create what the schemas declare and isn't there yet. Idempotent, and safe beside running services."""
        ...

    async def ping(self) -> None:
        """Return if the database can be read and written. Raises `StoreUnavailable`."""
        ...

    async def close(self) -> None: ...


Decide = Callable[[str, Document | None], "dict[str, Any] | None"]
"""From an id and what is stored under it (or None) to the body to store, or None to leave it as it is."""

_ATTEMPTS = 40
_PAUSE_S = 0.001


async def change(
    collection: Collection,
    ids: Iterable[str],
    decide: Decide,
    *,
    known: Mapping[str, Document | None] | None = None,
) -> dict[str, Document]:
    """Read documents, let `decide` say what each becomes, and write them with compare-and-set; again for those that
    others changed meanwhile.

    One read and one write per round. `decide` may be called several times for one id and must have no effect of its
    own. `known` spares the first read for documents that the caller has just read, or None for those that it expects
    not to be there. Returns every document as it is now. Raises `Contention` when some were changed by others forty
    times in a row.
    """
    pending = list(dict.fromkeys(ids))
    result: dict[str, Document] = {}
    current = dict(known or {})
    for attempt in range(_ATTEMPTS):
        if attempt:
            # Writers that meet on one document must not meet again and again.
            await asyncio.sleep(random() * _PAUSE_S * attempt)
        current.update(await collection.get([id_ for id_ in pending if id_ not in current]))
        writes: list[Document] = []
        for id_ in pending:
            found = current.get(id_)
            body = decide(id_, found)
            if body is not None:
                writes.append(Document(id_, body, found.rev if found else 0))
            elif found is not None:
                result[id_] = found
        if not writes:
            return result
        outcome = await collection.put(writes)
        lost = {*outcome.conflicted, *outcome.duplicate}
        result.update((document.id, document) for document in writes if document.id not in lost)
        if not lost:
            return result
        pending = [id_ for id_ in pending if id_ in lost]
        current = {}
    raise Contention(f"{len(pending)} documents kept changing under us")
