"""A copy of who is in which segment, in a file of one's own: asked in microseconds, also while Camino is away.

What is told goes into the file together with its cursor, in one transaction. So whenever the program dies, it goes on
where the file is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from threading import Lock

from camino.segment.v1.segment_events_pb2 import MEMBERSHIP_CAUSE_ERASURE
from camino.segment.v1.segment_service_pb2 import WatchMembershipsResponse

_TABLES = """
CREATE TABLE IF NOT EXISTS standing (
    profile_id TEXT, segment_id TEXT, sequence INTEGER, member INTEGER, round INTEGER,
    PRIMARY KEY (profile_id, segment_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (cursor TEXT, round INTEGER);
INSERT INTO place SELECT '', 0 WHERE NOT EXISTS (SELECT * FROM place);
"""

# The greater sequence holds, but not over what was told before all was told anew.
_TAKE = """
INSERT INTO standing SELECT ?, ?, ?, ?, round FROM place WHERE true
ON CONFLICT DO UPDATE SET sequence = excluded.sequence, member = excluded.member, round = excluded.round
WHERE excluded.sequence > sequence OR excluded.round > round
"""


class Audience:
    """One thread takes what is told, and any may ask."""

    def __init__(self, path: str) -> None:
        self._lock = Lock()
        self._file = sqlite3.connect(path, check_same_thread=False)
        self._file.executescript(_TABLES)

    @property
    def cursor(self) -> str:
        """Where to go on; empty to begin with everybody."""
        with self._lock:
            return str(self._file.execute("SELECT cursor FROM place").fetchone()[0])

    def take(self, anew: bool, response: WatchMembershipsResponse) -> None:
        """Take what was told. Who was a member before everything is told anew stays one until all of it is told."""
        with self._lock, self._file as file:
            if anew:
                file.execute("UPDATE place SET cursor = '', round = round + 1")
            file.executemany(_TAKE, _standings(response))
            # Nothing need be kept of people who were erased.
            file.executemany(
                "DELETE FROM standing WHERE profile_id = ?",
                ((one.profile_id,) for one in response.changes if one.cause == MEMBERSHIP_CAUSE_ERASURE),
            )
            if response.cursor:
                file.execute("DELETE FROM standing WHERE round < (SELECT round FROM place)")
            if cursor := response.cursor or response.members_cursor:
                file.execute("UPDATE place SET cursor = ?", (cursor,))

    def segments_of(self, profile_id: str) -> set[str]:
        asked = "SELECT segment_id FROM standing WHERE profile_id = ? AND member"
        with self._lock:
            return {segment_id for (segment_id,) in self._file.execute(asked, (profile_id,))}

    def close(self) -> None:
        self._file.close()


def _standings(response: WatchMembershipsResponse) -> Iterator[tuple[str, str, int, bool]]:
    members = response.members
    for profile_id, sequence in zip(members.profile_ids, members.sequences, strict=True):
        yield profile_id, members.segment_id, sequence, True
    for change in response.changes:
        yield change.profile_id, change.segment_id, change.sequence, change.member
