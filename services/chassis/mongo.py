"""The MongoDB engine: documents `{_id, rev, body}` in a replica set or a sharded cluster, through motor.

Writes are acknowledged by a majority's journals, reads see only such writes. An index is a partial index over the
documents that have a value in all its fields, and ends in the id.

A lost reply: with retryable writes (the driver's default) the server recognises a repeated write and answers as it did
the first time. Without them, or when the repetition fails too, the caller gets `StoreUnavailable` and doesn't know what
was done; when it puts the documents again, those it had written count as conflicted or duplicate, so it must read them
and decide anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import bson
import pymongo
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo.errors import BulkWriteError, ConnectionFailure, InvalidOperation, OperationFailure, PyMongoError

from services.chassis import engine
from services.chassis.documents import Collection, Database, Document, Index, Page, PutResult, Schema, Value
from services.chassis.errors import StoreUnavailable

_REPLY_MS = 20_000
_MAJORITY_MS = 15_000

_DUPLICATE_KEY = 11000
_VALIDATION_FAILED = 121
_NAMESPACE_EXISTS = 48
_OUTAGES = {
    6,  # HostUnreachable
    7,  # HostNotFound
    13,  # Unauthorized: until somebody mends our user's role
    18,  # AuthenticationFailed: or our password
    50,  # MaxTimeMSExpired
    64,  # WriteConcernTimeout
    89,  # NetworkTimeout
    91,  # ShutdownInProgress
    112,  # WriteConflict
    189,  # PrimarySteppedDown
    262,  # ExceededTimeLimit
    10107,  # NotWritablePrimary
    11600,  # InterruptedAtShutdown
    11602,  # InterruptedDueToReplStateChange
    13435,  # NotPrimaryNoSecondaryOk
    13436,  # NotPrimaryOrSecondary
    14031,  # OutOfDiskSpace
}
"""Codes of errors that pass, whoever mends them."""

_MISSED = "missed"
"""What a replacement that finds no document would write, and the collection's validator refuses.

A bulk write tells how many of its replacements found their document, but not which; reading them again wouldn't tell
either, if others have written meanwhile. So a replacement is an upsert that can't insert: each that misses is an error
with its number, and nothing is written.
"""

_HAS_VALUE = {"$type": ["string", "number", "bool", "binData"]}
"""What an indexed field holds if it's in the index; said in the same words by every query, for the planner's sake."""


class MongoDatabase(Database):
    """One database of a deployment. It connects with the first operation.

    `reach_seconds` is how long an operation waits for a primary, such as during an election, before it raises.
    """

    def __init__(self, uri: str, name: str, *, reach_seconds: float = 5.0) -> None:
        self._uri = uri
        self._name = name
        self._reach_seconds = reach_seconds
        self._client = self._connected(socketTimeoutMS=_REPLY_MS)
        self._database = self._client[name]

    def _connected(self, **options: Any) -> AsyncIOMotorClient[dict[str, Any]]:
        reach_ms = int(self._reach_seconds * 1000)
        return AsyncIOMotorClient(
            self._uri,
            w="majority",
            journal=True,
            readConcernLevel="majority",
            wTimeoutMS=_MAJORITY_MS,
            serverSelectionTimeoutMS=reach_ms,
            connectTimeoutMS=reach_ms,
            **options,
        )

    def collection(self, schema: Schema) -> Collection:
        return _MongoCollection(self._database[schema.name], schema)

    async def migrate(self, schemas: Iterable[Schema]) -> None:
        # On a connection of its own, that waits: to index a large collection takes as long as it takes.
        client = self._connected()
        try:
            with _outages():
                for schema in schemas:
                    await _ensure_collection(client[self._name], schema.name)
                    indexes = [_BY_REVISION, *map(_index, schema.indexes)]
                    await client[self._name].get_collection(schema.name).create_indexes(indexes)
        finally:
            client.close()

    async def ping(self) -> None:
        # Answered by a primary: one that lost its majority steps down.
        with _outages():
            await self._client.admin.command("ping")

    async def drop(self) -> None:
        """Remove the database and all that is in it."""
        with _outages():
            await self._client.drop_database(self._database.name)

    async def close(self) -> None:
        self._client.close()


class _MongoCollection(Collection):
    def __init__(self, collection: AsyncIOMotorCollection[dict[str, Any]], schema: Schema) -> None:
        self._collection = collection
        self._schema = schema
        self._fields = tuple(dict.fromkeys(name for index in schema.indexes for name in index.fields))

    async def get(self, ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(ids)
        if not wanted:
            return {}
        engine.writable(wanted)
        cursor = self._collection.find({"_id": {"$in": wanted}}, batch_size=len(wanted) + 1)
        return {document.id: document for document in await _documents(cursor)}

    async def put(self, documents: Sequence[Document]) -> PutResult:
        if not documents:
            return PutResult()
        ids = [document.id for document in documents]
        engine.distinct(ids)
        engine.writable(ids)
        revisions = [engine.next_revision(document.rev) for document in documents]
        # Encoded before anything is sent: what can't be encoded fails all of this call, not what comes after it.
        writes = [
            self._write(document, revision, RawBSONDocument(bson.encode(document.body)))
            for document, revision in zip(documents, revisions, strict=True)
        ]
        failed = await self._failures(writes)
        result = PutResult()
        for at, (document, revision) in enumerate(zip(documents, revisions, strict=True)):
            if at in failed:
                (result.conflicted if document.rev else result.duplicate).append(document.id)
            else:
                result.saved.append(document.id)
                document.rev = revision
        return result

    def _write(
        self, document: Document, revision: int, body: RawBSONDocument
    ) -> pymongo.InsertOne[dict[str, Any]] | pymongo.UpdateOne:
        engine.indexed(document.body, self._fields)
        if not document.rev:
            return pymongo.InsertOne({"_id": document.id, "rev": revision, "body": body})
        return pymongo.UpdateOne(
            {"_id": document.id, "rev": document.rev},
            {"$set": {"rev": revision, "body": body}, "$setOnInsert": {_MISSED: True}},
            upsert=True,
        )

    async def _failures(self, writes: Sequence[pymongo.InsertOne[dict[str, Any]] | pymongo.UpdateOne]) -> set[int]:
        """Which of these writes found another document in their place."""
        with _outages():
            try:
                await self._collection.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                if error.details["writeConcernErrors"]:
                    raise
                errors = error.details["writeErrors"]
                if any(failure["code"] not in (_DUPLICATE_KEY, _VALIDATION_FAILED) for failure in errors):
                    raise
                return {failure["index"] for failure in errors}
        return set()

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
        engine.room(limit)
        wanted = engine.Range.of(self._schema, index, equal, at_least, below)
        branches = _branches(wanted, wanted.position(after), "$lt" if descending else "$gt")
        direction = pymongo.DESCENDING if descending else pymongo.ASCENDING
        # One more than asked, to know whether there is a next page.
        cursor = self._collection.find(
            branches[0] if len(branches) == 1 else {"$or": branches},
            sort=[(key, direction) for key in (*map(_path, wanted.free), "_id")],
            hint=_name(wanted.fields),
            limit=limit + 1,
        )
        found = await _documents(cursor)
        page = found[:limit]
        return Page(page, wanted.token(page[-1].body, page[-1].id) if len(found) > limit else "")

    async def scan(self, *, limit: int, after: str = "", prefix: str = "") -> Page:
        engine.room(limit)
        order = engine.order(self._schema.name, prefix)
        bounds = {"$gte": prefix, "$gt": engine.last_id(order, after), "$lt": engine.successor(prefix)}
        asked = {operator: value for operator, value in bounds.items() if value is not None}
        found = await _documents(self._collection.find({"_id": asked}, sort=[("_id", 1)], limit=limit + 1))
        page = found[:limit]
        return Page(page, engine.scan_token(self._schema.name, prefix, page[-1].id) if len(found) > limit else "")

    async def delete(self, ids: Iterable[str]) -> int:
        unwanted = list(ids)
        if not unwanted:
            return 0
        engine.writable(unwanted)
        with _outages():
            return int((await self._collection.delete_many({"_id": {"$in": unwanted}})).deleted_count)

    async def count(self, index: str, *equal: Value, at_least: Value | None = None, below: Value | None = None) -> int:
        wanted = engine.Range.of(self._schema, index, equal, at_least, below)
        with _outages():
            return int(await self._collection.count_documents(_condition(wanted), hint=_name(wanted.fields)))


async def _documents(cursor: Any) -> list[Document]:
    with _outages():
        return [Document(found["_id"], found["body"], found["rev"]) for found in await cursor.to_list(None)]


def _condition(wanted: engine.Range) -> dict[str, dict[str, Any]]:
    condition = {_path(name): dict[str, Any](_HAS_VALUE) for name in wanted.fields}
    for name, value in zip(wanted.fields, wanted.equal, strict=False):
        condition[_path(name)]["$eq"] = value
    if wanted.at_least is not None:
        condition[_path(wanted.free[0])]["$gte"] = wanted.at_least
    if wanted.below is not None:
        condition[_path(wanted.free[0])]["$lt"] = wanted.below
    return condition


def _branches(wanted: engine.Range, position: Sequence[Value], beyond: str) -> list[dict[str, dict[str, Any]]]:
    """The conditions, any of which holds for a document of the range beyond a position.

    One for each length of what a document can share with the position: each is one stretch of the index, in its order,
    so that the server can merge them without sorting, and reads nothing before the position.
    """
    if not position:
        return [_condition(wanted)]
    branches = []
    keys = [*map(_path, wanted.free), "_id"]
    for shared in reversed(range(len(keys))):
        branch = _condition(wanted)
        for key, value in zip(keys[:shared], position, strict=False):
            branch[key]["$eq"] = value
        branch.setdefault(keys[shared], {})[beyond] = position[shared]
        branches.append(branch)
    return branches


async def _ensure_collection(database: AsyncIOMotorDatabase[dict[str, Any]], name: str) -> None:
    """Make a collection that refuses what missed; also one that is there already."""
    validator = {_MISSED: {"$exists": False}}
    try:
        await database.command("create", name, validator=validator)
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:
            raise
        await database.command("collMod", name, validator=validator)


_BY_REVISION = pymongo.IndexModel([("_id", 1), ("rev", 1)], name="_id,rev")
"""Lets a compare-and-set find its document, or that there's none, in the index alone."""


def _index(index: Index) -> pymongo.IndexModel:
    return pymongo.IndexModel(
        [(_path(name), 1) for name in index.fields] + [("_id", 1)],
        name=_name(index.fields),
        partialFilterExpression={_path(name): _HAS_VALUE for name in index.fields},
    )


def _name(fields: Sequence[str]) -> str:
    """An index is known by its fields: one that changes is a new one, and a running old program finds its own."""
    return ",".join(fields)


def _path(field: str) -> str:
    return f"body.{field}"


@contextlib.contextmanager
def _outages() -> Iterator[None]:
    """Tell what the world does to us from what we do wrong."""
    try:
        yield
    except PyMongoError as error:
        if _transient(error):
            # Without the words of what the server said of an operation: it quotes documents.
            words = f"{type(error).__name__} {error.code}" if isinstance(error, OperationFailure) else error
            raise StoreUnavailable(f"the database can't be used now: {words}") from error
        raise


def _transient(error: PyMongoError) -> bool:
    if isinstance(error, ConnectionFailure) or error.timeout or error.has_error_label("RetryableWriteError"):
        return True
    if isinstance(error, InvalidOperation):
        return "after close" in str(error)
    if isinstance(error, BulkWriteError):
        codes = {failure["code"] for failure in error.details["writeErrors"]}
        return bool(error.details["writeConcernErrors"] or codes & _OUTAGES)
    return getattr(error, "code", None) in _OUTAGES
