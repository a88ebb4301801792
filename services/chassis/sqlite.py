"""The embedded engine: documents in one SQLite file, for a single process that needs no database server.

One thread writes and commits in groups: whatever puts and deletes wait when it is free share one transaction and one
fsync. Other threads read beside it (WAL), and see a write as soon as its caller does. `synchronous=FULL`: what was
acknowledged survives kill -9 and power loss. What the statements look like, and why, is told in `sql`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import bson

from services.chassis import engine, sql
from services.chassis.documents import Collection, Database, Document, Page, PutResult, Schema, Value
from services.chassis.errors import StoreUnavailable
from services.chassis.threads import Job, Jobs, Worker

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_GROUP_DOCUMENTS = 4000
"""A transaction takes no further work once it has this many documents, so that the first in it don't wait too long."""

_CHECKPOINT_PAGES = 4000
_LOG_BYTES = 64 << 20
_CACHE_KIB = 32 << 10

_OUTAGES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
}
"""What the world does to a database. Anything else is our mistake, or a broken file, and is shown as it is."""


class SqliteDatabase(Database):
    """One file. It belongs to the event loop and the process that opened it."""

    def __init__(self, path: Path, max_bytes: int | None, readers: int) -> None:
        """Use `open`. This blocks while it locks the file and makes sure of its log."""
        self._lock = _lock(path)
        try:
            with _outages():
                self._writing = _Writing(lambda: _connect(path, max_bytes))
                self._reading = [_Reading(_connect(path, read_only=True)) for _ in range(readers)]
        except BaseException:
            os.close(self._lock)
            raise
        self._fields: dict[str, tuple[str, ...]] = {}
        self._migration = asyncio.Lock()
        self._threads: list[Worker] = []
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, max_bytes: int | None = None, readers: int = 2) -> SqliteDatabase:
        """Open the file, or make it.

        `max_bytes` bounds its size (the log beside it, some megabytes, isn't counted); beyond it, writes raise
        `StoreUnavailable` as they do on a full disk, until something is deleted or the bound is raised.
        Raises `StoreUnavailable` when another process has it open, or when it can't be opened.
        """
        database = await asyncio.to_thread(cls, path, max_bytes, readers)
        database._start()
        try:
            database._fields = await database.read(_fields)
        except BaseException:
            await database.close()
            raise
        return database

    def _start(self) -> None:
        writing, reads = self._writing, Jobs()
        self._writer = Worker("sqlite-writer", Jobs(), writing.perform, writing.finish, weight=_GROUP_DOCUMENTS)
        self._readers = [Worker("sqlite-reader", reads, reading.perform, reading.finish) for reading in self._reading]
        self._threads = [*self._readers, self._writer]
        for thread in self._threads:
            thread.start()

    def collection(self, schema: Schema) -> Collection:
        return _SqliteCollection(self, schema)

    async def migrate(self, schemas: Iterable[Schema]) -> None:
        declared = tuple(schemas)
        async with self._migration:
            self._fields = await self.write(lambda connection: _migrate(connection, declared))

    async def ping(self) -> None:
        await self.write(_touch)

    async def close(self) -> None:
        """Finish what was asked before, then let go of the file. Whatever is asked later raises `StoreUnavailable`."""
        if self._closed:
            return
        self._closed = True
        for thread in self._threads:
            thread.jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        os.close(self._lock)

    async def fields(self, collection: str) -> tuple[str, ...]:
        """The fields that the file indexes for a collection: the declared ones, and those that other versions declared.

        A version writes the others' too, so that going back and forth between versions leaves nothing out of an index.
        For the same reason this waits for a migration: what is queued behind one must have the fields that it adds.
        """
        async with self._migration:
            if collection not in self._fields:
                raise LookupError(f"there is no collection {collection!r} yet: migrate first")
            return self._fields[collection]

    async def write(self, work: Work[T], *, documents: int = 1) -> T:
        """Run within the writer's next transaction; returns when that is on disk."""
        return cast(T, await self._do(self._writer, Job(work, documents)))

    async def read(self, work: Work[T]) -> T:
        """Run in a reader's thread."""
        return cast(T, await self._do(self._readers[0], Job(work)))

    async def _do(self, thread: Worker, job: Job) -> Any:
        if self._closed:
            raise StoreUnavailable("the database is closed")
        return await thread.do(job)


class _SqliteCollection(Collection):
    def __init__(self, database: SqliteDatabase, schema: Schema) -> None:
        self._database = database
        self._schema = schema
        self._name = schema.name

    async def get(self, ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(ids)
        if not wanted:
            return {}
        found = await self._select(sql.select_by_ids(self._name), [sql.json_array(wanted)])
        return {document.id: document for document in found}

    async def put(self, documents: Sequence[Document]) -> PutResult:
        if not documents:
            return PutResult()
        ids = [document.id for document in documents]
        engine.distinct(ids)
        engine.writable(ids)
        # Encoded here, so that what can't be encoded fails this caller, not the group that it would be written with.
        # From here on nothing waits until it's queued: see `fields`.
        batch = _Batch(self._name, await self._database.fields(self._name))
        for document in documents:
            batch.add(document)
        result = await self._database.write(batch.write, documents=len(ids))
        unsaved = {*result.conflicted, *result.duplicate}
        for document in documents:
            if document.id not in unsaved:
                document.rev = batch.revisions[document.id]
        return result

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
        # One more than asked, to know whether there is a next page.
        text, values = sql.select_range(self._name, wanted, wanted.position(after), descending, limit + 1)
        found = await self._select(text, values)
        page = found[:limit]
        return Page(page, wanted.token(page[-1].body, page[-1].id) if len(found) > limit else "")

    async def scan(self, *, limit: int, after: str = "", prefix: str = "") -> Page:
        engine.room(limit)
        order = engine.order(self._name, prefix)
        text, values = sql.select_ids_from(self._name, prefix, engine.last_id(order, after), limit + 1)
        found = await self._select(text, values)
        page = found[:limit]
        return Page(page, engine.scan_token(self._name, prefix, page[-1].id) if len(found) > limit else "")

    async def delete(self, ids: Iterable[str]) -> int:
        unwanted = list(ids)
        if not unwanted:
            return 0
        text, values = sql.delete(self._name), (sql.json_array(unwanted),)
        return await self._database.write(
            lambda connection: connection.execute(text, values).rowcount, documents=len(unwanted)
        )

    async def count(self, index: str, *equal: Value, at_least: Value | None = None, below: Value | None = None) -> int:
        text, values = sql.count_range(self._name, engine.Range.of(self._schema, index, equal, at_least, below))
        return await self._database.read(lambda connection: int(connection.execute(text, values).fetchall()[0][0]))

    async def _select(self, text: str, values: Sequence[Value]) -> list[Document]:
        return await self._database.read(lambda connection: _documents(connection, text, values))


def _documents(connection: sqlite3.Connection, text: str, values: Sequence[Value]) -> list[Document]:
    [(heads, bodies)] = connection.execute(text, values).fetchall()
    if bodies is None:
        return []
    found = zip(json.loads(heads), bson.decode_all(bodies), strict=True)
    return [Document(id_, body, rev) for (id_, rev), body in found]


class _Batch:
    """The documents of one put, encoded: rows to insert and rows to replace."""

    def __init__(self, collection: str, fields: tuple[str, ...]) -> None:
        self._collection = collection
        self._fields = fields
        self._new: list[list[Any]] = []
        self._known: list[list[Any]] = []
        self._read_at: dict[str, int] = {}
        self.revisions: dict[str, int] = {}
        """What each document's revision will be."""

    def add(self, document: Document) -> None:
        rev = self.revisions[document.id] = engine.next_revision(document.rev)
        row = [document.id, rev, bson.encode(document.body), *engine.indexed(document.body, self._fields)]
        if document.rev:
            self._known.append(row)
            self._read_at[document.id] = document.rev
        else:
            self._new.append(row)

    def write(self, connection: sqlite3.Connection) -> PutResult:
        """Within a transaction of the only writer nobody comes between reading and writing."""
        result = PutResult()
        self._insert(connection, result)
        self._replace(connection, result)
        return result

    def _insert(self, connection: sqlite3.Connection, result: PutResult) -> None:
        ids = [row[0] for row in self._new]
        if self._run(connection, sql.insert, self._new) == len(ids):
            result.saved += ids
            return
        present = self._present(connection, ids)
        for id_ in ids:
            (result.saved if present[id_] == self.revisions[id_] else result.duplicate).append(id_)

    def _replace(self, connection: sqlite3.Connection, result: PutResult) -> None:
        if not self._known:
            return
        present = self._present(connection, list(self._read_at))
        rows = [row for row in self._known if present.get(row[0]) == self._read_at[row[0]]]
        self._run(connection, sql.upsert, rows)
        for id_, rev in self._read_at.items():
            (result.saved if present.get(id_) == rev else result.conflicted).append(id_)

    def _present(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, int]:
        [(found,)] = connection.execute(sql.revisions(self._collection), (sql.json_array(ids),)).fetchall()
        present: dict[str, int] = json.loads(found)
        return present

    def _run(
        self, connection: sqlite3.Connection, statement: Callable[[str, Sequence[str], int], str], rows: list[list[Any]]
    ) -> int:
        """How many rows were written."""
        return sum(
            connection.execute(statement(self._collection, self._fields, size), values).rowcount
            for size, values in sql.chunks(rows)
        )


def _migrate(connection: sqlite3.Connection, schemas: Sequence[Schema]) -> dict[str, tuple[str, ...]]:
    """Make what isn't there yet, all of it or nothing."""
    present = _fields(connection)
    for schema in schemas:
        connection.execute(sql.create_table(schema.name))
        declared = dict.fromkeys(name for index in schema.indexes for name in index.fields)
        new = [name for name in declared if name not in present.get(schema.name, ())]
        for name in new:
            connection.execute(sql.add_column(schema.name, name))
        if new:
            _fill(connection, schema.name, new)
        for text in sql.create_indexes(schema):
            connection.execute(text)
    return _fields(connection)


def _fill(connection: sqlite3.Connection, collection: str, fields: Sequence[str]) -> None:
    """Give new columns their values for the documents that are there already."""
    last = 0
    while rows := connection.execute(sql.select_to_fill(collection), (last,)).fetchall():
        filled = ([*engine.indexed(bson.decode(body), fields), row] for row, body in rows)
        connection.executemany(sql.fill(collection, fields), filled)
        last = rows[-1][0]


def _fields(connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """The collections of a file and the fields that each has columns for."""
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(sql.TABLES).fetchall():
        fields = found.setdefault(table, [])
        if (name := sql.field_of(column)) is not None:
            fields.append(name)
    return {table: tuple(fields) for table, fields in found.items()}


def _touch(connection: sqlite3.Connection) -> None:
    """Take some pages and give them back: so this fails already when there is no room for new documents."""
    connection.execute("CREATE TABLE IF NOT EXISTS camino_room (room BLOB)")
    connection.execute("INSERT INTO camino_room VALUES (zeroblob(16384))")
    connection.execute("DELETE FROM camino_room")


# --- threads ----------------------------------------------------------------------------------------------------------


class _Reading:
    """Runs reads, each of them on what was committed when it began."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def perform(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            try:
                with _outages():
                    job.result = job.work(self._connection)
            except Exception as error:
                job.error = error

    def finish(self) -> None:
        self._connection.close()


class _Writing:
    """Runs writes, as one transaction for all that wait: the only ones that write the file."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._connection: sqlite3.Connection | None = connect()

    def perform(self, jobs: Sequence[Job]) -> None:
        try:
            self._commit(jobs)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].error = error
                return
            # One of them fails by itself, or needs more space than there is: the others needn't suffer for it.
            for job in jobs:
                self.perform([job])

    def finish(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _commit(self, jobs: Sequence[Job]) -> None:
        with _outages():
            if self._connection is None:
                self._connection = self._connect()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    job.result = job.work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                self._undo(self._connection)
                raise

    def _undo(self, connection: sqlite3.Connection) -> None:
        """Leave nothing half done. A connection that can't even roll back is closed, and made anew for what's next."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection = None
            connection.close()


# --- the file ---------------------------------------------------------------------------------------------------------


def _connect(path: Path, max_bytes: int | None = None, *, read_only: bool = False) -> sqlite3.Connection:
    # Made in one thread and used in another, never in two at once.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if max_bytes is not None:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max_bytes // page_bytes}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _lock(path: Path) -> int:
    """Hold the file for this process. The lock goes when the process goes, however it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode()
        os.close(lock)
        raise StoreUnavailable(
            f"{path} is open in another process ({holder}): an embedded database serves one; stop it, or use MongoDB"
        ) from None
    with contextlib.suppress(OSError):  # Only who holds it goes unsaid, on a full disk.
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"pid {os.getpid()}".encode(), 0)
    return lock


@contextlib.contextmanager
def _outages() -> Iterator[None]:
    """Tell what the world does to us from what we do wrong."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in _OUTAGES:
            raise StoreUnavailable(f"the database can't be used now: {error}") from error
        raise
