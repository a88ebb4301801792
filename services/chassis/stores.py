"""Which storage engine a deployment gets: MongoDB where there is one, else a file."""

from __future__ import annotations

from pathlib import Path

from services.chassis.documents import Database


async def open_database(*, uri: str, path: Path, name: str) -> Database:
    """Open a service's database: `name` in the MongoDB at `uri`, or the file at `path` if there's no URI.

    Raises `StoreUnavailable` when the file can't be opened; whether a MongoDB can be reached shows with the first use.
    """
    # Imported only where it is used: an embedded service is spared the driver, and its memory.
    if uri:
        from services.chassis.mongo import MongoDatabase

        return MongoDatabase(uri, name)
    from services.chassis.sqlite import SqliteDatabase

    return await SqliteDatabase.open(path)
