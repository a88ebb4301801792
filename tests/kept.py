"""What is kept on disk and on the broker, seen from outside the services: everything, as it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from nats.js.errors import NotFoundError

from services.chassis.broker import Broker

Kept = dict[tuple[str, ...], bytes]
"""What is kept, by where it is."""


def documents(path: Path) -> Kept:
    """Every document of an embedded store, which a running service may have open: by service, collection, id and
    revision."""
    found: Kept = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = connection.execute(
            "SELECT t.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' AND c.name = 'body'"
        ).fetchall()
        for (table,) in tables:
            for id_, rev, body in connection.execute(f'SELECT id, rev, body FROM "{table}"'):
                found[path.stem, table, id_, str(rev)] = body
    return found


async def messages(broker: Broker) -> Kept:
    """Every message of every stream: by stream, number and subject."""
    found: Kept = {}
    for stream in await broker.jetstream.streams_info():
        name = str(stream.config.name)
        # One that never had any says that its first is number 0.
        for number in range(max(stream.state.first_seq, 1), stream.state.last_seq + 1):
            try:
                message = await broker.jetstream.get_msg(name, number)
            except NotFoundError:
                continue
            found[name, str(number), str(message.subject)] = message.data or b""
    return found
