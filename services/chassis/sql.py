"""The statements of the embedded engine.

A collection is a table: id, revision, BSON body, and a column for each indexed field, NULL where the field is missing
or None. An index is a partial index over the documents that have all its fields, and ends in the id.

Two costs shape them.

- Each step of a statement gives up the interpreter's lock, and beside a busy event loop it takes up to 5 ms to get it
  back. So there are few steps: many rows are written by one statement, and read as a single row. Beside a loop that
  never rests, a hundred documents take 26 ms, where a plain `executemany` takes 140.
- A statement that could fail between two rows makes SQLite keep a journal of it, which costs half as much again. So the
  tables have no constraint but the id, and every insert says what to do about that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from services.chassis import engine
from services.chassis.documents import Schema, Value

_ROWS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Rows per statement: few distinct texts, so that each is compiled once."""

_FIELD = "body."
"""Before the names of fields, so that one may be called `id`."""

TABLES = (
    "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c "
    "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)
"""Every table with each of its columns."""


def field_of(column: str) -> str | None:
    """The indexed field that a column is for; None if it's for no field."""
    return column.removeprefix(_FIELD) if column.startswith(_FIELD) else None


def json_array(ids: Iterable[str]) -> str:
    """Ids as one value to bind, so that one text serves batches of every size."""
    known = list(ids)
    engine.writable(known)
    return json.dumps(known, ensure_ascii=False)


def select_by_ids(collection: str) -> str:
    return _as_one_row(f"SELECT id, rev, body FROM {quoted(collection)} WHERE {_AMONG}")


def revisions(collection: str) -> str:
    """One JSON object from id to revision."""
    return f"SELECT json_group_object(id, rev) FROM {quoted(collection)} WHERE {_AMONG}"


def delete(collection: str) -> str:
    return f"DELETE FROM {quoted(collection)} WHERE {_AMONG}"


_AMONG = "id IN (SELECT value FROM json_each(?))"


def insert(collection: str, fields: Sequence[str], rows: int) -> str:
    """Insert what isn't there."""
    columns = ", ".join(("id", "rev", "body", *map(_column, fields)))
    row = f"(?{', ?' * (2 + len(fields))})"
    return f"INSERT INTO {quoted(collection)} ({columns}) VALUES {', '.join([row] * rows)} ON CONFLICT (id) DO NOTHING"


def upsert(collection: str, fields: Sequence[str], rows: int) -> str:
    """Write over what is there."""
    columns = ("rev", "body", *map(_column, fields))
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
    return insert(collection, fields, rows).removesuffix("NOTHING") + f"UPDATE SET {changes}"


def chunks(rows: Sequence[list[Value]]) -> Iterator[tuple[int, list[Value]]]:
    """Rows as (how many, their values in a row), in sizes that statements are made for."""
    start = 0
    while start < len(rows):
        size = next(size for size in _ROWS if size <= len(rows) - start)
        yield size, [value for row in rows[start : start + size] for value in row]
        start += size


def select_range(
    collection: str, wanted: engine.Range, position: Sequence[Value], descending: bool, limit: int
) -> tuple[str, list[Value]]:
    """The first `limit` documents of a range of an index, from a position on."""
    where, values = _where(wanted, position, descending)
    order = ", ".join(f"{column} DESC" if descending else column for column in (*map(_column, wanted.free), "id"))
    select = f"SELECT id, rev, body FROM {_indexed(collection, wanted)} WHERE {where} ORDER BY {order} LIMIT ?"
    return _as_one_row(select), [*values, limit]


def count_range(collection: str, wanted: engine.Range) -> tuple[str, list[Value]]:
    where, values = _where(wanted, (), descending=False)
    return f"SELECT count(*) FROM {_indexed(collection, wanted)} WHERE {where}", values


def select_ids_from(collection: str, prefix: str, after: str | None, limit: int) -> tuple[str, list[Value]]:
    """The first `limit` documents whose ids begin with `prefix` and are greater than `after`, by id."""
    terms: list[tuple[str, Value | None]] = [
        ("id >= ?", prefix),
        ("id > ?", after),
        ("id < ?", engine.successor(prefix)),
    ]
    asked = [(term, value) for term, value in terms if value is not None]
    where = " AND ".join(term for term, _ in asked)
    select = f"SELECT id, rev, body FROM {quoted(collection)} WHERE {where} ORDER BY id LIMIT ?"
    return _as_one_row(select), [*(value for _, value in asked), limit]


def _indexed(collection: str, wanted: engine.Range) -> str:
    return f"{quoted(collection)} INDEXED BY {_index(collection, wanted.fields)}"


def _where(wanted: engine.Range, position: Sequence[Value], descending: bool) -> tuple[str, list[Value]]:
    # SQLite considers a partial index only for a condition that says what the index says.
    terms = [f"{_column(name)} IS NOT NULL" for name in wanted.fields]
    values: list[Value] = []

    def add(term: str, *operands: Value) -> None:
        terms.append(term)
        values.extend(operands)

    for name, value in zip(wanted.fields, wanted.equal, strict=False):
        add(f"{_column(name)} = ?", value)
    # A position is the nearer bound on its side: the unary plus keeps SQLite from seeking to the farther one.
    low, high = ("", "+") if descending else ("+", "")
    if wanted.at_least is not None:
        add(f"{low if position else ''}{_column(wanted.free[0])} >= ?", wanted.at_least)
    if wanted.below is not None:
        add(f"{high if position else ''}{_column(wanted.free[0])} < ?", wanted.below)
    if position:
        columns = ", ".join((*map(_column, wanted.free), "id"))
        add(f"({columns}) {'<' if descending else '>'} ({', '.join('?' * len(position))})", *position)
    return " AND ".join(terms), values


def _as_one_row(select: str) -> str:
    """Gather a selection into a row of heads (JSON) and bodies, which can follow each other: BSON knows its length."""
    return f"SELECT json_group_array(json_array(id, rev)), CAST(group_concat(body, '') AS BLOB) FROM ({select})"


def create_table(collection: str) -> str:
    return f"CREATE TABLE IF NOT EXISTS {quoted(collection)} (id TEXT PRIMARY KEY, rev INTEGER, body BLOB)"


def add_column(collection: str, field: str) -> str:
    return f"ALTER TABLE {quoted(collection)} ADD COLUMN {_column(field)}"


def select_to_fill(collection: str) -> str:
    return f"SELECT rowid, body FROM {quoted(collection)} WHERE rowid > ? ORDER BY rowid LIMIT 1000"


def fill(collection: str, fields: Sequence[str]) -> str:
    changes = ", ".join(f"{_column(name)} = ?" for name in fields)
    return f"UPDATE {quoted(collection)} SET {changes} WHERE rowid = ?"


def create_indexes(schema: Schema) -> Iterator[str]:
    """An index is known by its fields: one that changes is a new one, and an old program finds its own."""
    for index in schema.indexes:
        columns = ", ".join((*map(_column, index.fields), "id"))
        condition = " AND ".join(f"{_column(name)} IS NOT NULL" for name in index.fields)
        name = _index(schema.name, index.fields)
        yield f"CREATE INDEX IF NOT EXISTS {name} ON {quoted(schema.name)} ({columns}) WHERE {condition}"


def _column(field: str) -> str:
    return quoted(_FIELD + field)


def _index(collection: str, fields: Sequence[str]) -> str:
    return quoted(f"{collection}({','.join(fields)})")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
