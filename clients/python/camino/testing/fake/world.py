"""Everything that a fake holds: resources as they are on the wire, by their kind, workspace and id; and of each
workspace all that was told of people, of which its profiles follow."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import RLock
from typing import TypeVar

from camino.profile.v1 import profile_pb2
from camino.testing.fake.ledger import Ledger
from google.protobuf.message import Message

R = TypeVar("R", bound=Message)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class World:
    """What is taken out is not to be changed: put another in its place. Whoever uses it from several threads holds
    `lock` meanwhile."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.lock = RLock()
        self._now = now
        self._numbers = count(1)
        self._tables: defaultdict[type[Message], dict[tuple[str, str], Message]] = defaultdict(dict)
        self._ledgers: dict[str, Ledger] = {}

    def now(self) -> int:
        """In microseconds since the epoch."""
        return (self._now() - _EPOCH) // _MICROSECOND

    def new_id(self) -> str:
        """In the form of a UUIDv7 (RFC 9562): later ones sort after earlier ones. The same at each run of a test whose
        clock is, too."""
        millis = max(self.now() // 1_000, 0)
        return str(uuid.UUID(int=millis << 80 | 7 << 76 | 2 << 62 | next(self._numbers)))

    def ledger(self, workspace_id: str) -> Ledger:
        return self._ledgers.setdefault(workspace_id, Ledger(workspace_id, self.new_id))

    def get(self, kind: type[R], workspace_id: str, id_: str) -> R | None:
        if kind is profile_pb2.Profile:
            found: Message | None = self.ledger(workspace_id).profile(id_)
        else:
            found = self._tables[kind].get((workspace_id, id_))
        assert found is None or isinstance(found, kind)
        return found

    def put(self, workspace_id: str, id_: str, resource: Message) -> None:
        """Profiles aren't put: they follow from what was told."""
        self._tables[type(resource)][workspace_id, id_] = resource

    def remove(self, kind: type[Message], workspace_id: str, id_: str) -> None:
        """Again is a no-op."""
        self._tables[kind].pop((workspace_id, id_), None)

    def all(self, kind: type[R], workspace_id: str) -> Iterator[tuple[str, R]]:
        """A workspace's resources of a kind, with their ids, in the order in which they were first put."""
        if kind is profile_pb2.Profile:
            for profile in self.ledger(workspace_id).profiles():
                assert isinstance(profile, kind)
                yield profile.profile_id, profile
        for (owner, id_), resource in self._tables[kind].items():
            if owner == workspace_id:
                assert isinstance(resource, kind)
                yield id_, resource

    def everywhere(self, kind: type[R]) -> Iterator[tuple[str, R]]:
        """The same, of all workspaces."""
        for workspace_id in dict.fromkeys(owner for owner, _ in self._tables[kind]):
            yield from self.all(kind, workspace_id)

    def delete(self, workspace_id: str) -> int:
        """Delete a workspace. How many resources it had."""
        deleted = len(self._ledgers.pop(workspace_id, ()))
        for table in self._tables.values():
            keys = [key for key in table if key[0] == workspace_id]
            deleted += len(keys)
            for key in keys:
                del table[key]
        return deleted

    def snapshot(self) -> object:
        """Everything in it: equal to an earlier one if nothing changed."""
        tables = {
            kind.DESCRIPTOR.full_name: {
                key: found.SerializeToString(deterministic=True) for key, found in table.items()
            }
            for kind, table in self._tables.items()
            if table
        }
        return tables, {name: ledger.snapshot() for name, ledger in self._ledgers.items() if len(ledger)}
