"""What exports have gathered: kept in parts, until their time is over or the profile is erased."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from services.chassis.clock import MINUTE, Clock
from services.chassis.documents import Document, change
from services.profile.operations import convert
from services.profile.operations.operation import Kind, Operation, State
from services.profile.store import Store

PART_BYTES = 256 * 1024

_PAGE = 200
_AGAIN = 2 * MINUTE
"""After which an export that was ended is looked at again, for parts that somebody was about to write: longer than one
step takes."""


class Exports:
    def __init__(self, store: Store, clock: Clock, partitions: int) -> None:
        self._store = store
        self._clock = clock
        self._partitions = partitions

    async def write(self, operation: Operation, first: int, data: bytes) -> int:
        """Write data as parts, from this number on, over what is there. How many they are."""
        slices = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
        bodies = {_key(operation, first + index): {"part": part} for index, part in enumerate(slices)}

        def decide(key: str, _found: Document | None) -> dict[str, Any]:
            return bodies[key]

        await change(self._store.exports, bodies, decide)
        return len(slices)

    async def read(self, operation: Operation, number: int) -> bytes | None:
        """A part, or None if it's gone."""
        key = _key(operation, number)
        found = (await self._store.exports.get([key])).get(key)
        return found.body["part"] if found else None

    async def delete(self, operation: Operation) -> None:
        """Delete all parts."""
        prefix = f"{convert.key_of(operation)}/"
        while ids := [part.id for part in (await self._store.exports.scan(limit=_PAGE, prefix=prefix)).documents]:
            await self._store.exports.delete(ids)

    def expired(self, operation: Operation) -> Operation:
        """The operation as one whose parts are going."""
        now = self._clock.now()
        return replace(
            operation, state=State.EXPIRED, ended_at=operation.ended_at or now, due_at=now + _AGAIN, obstacle=""
        )

    async def expire_of(self, workspace_id: str, profile_ids: Sequence[str]) -> int:
        """End the exports of a person, and delete their parts. How many had any."""
        ended = 0
        for operation in await self._of(workspace_id, profile_ids):
            if operation.state is not State.EXPIRED:
                ended += 1

                def decide(_key: str, found: Document | None) -> dict[str, Any] | None:
                    now = convert.operation_of(found) if found else None
                    if now is None or now.state is State.EXPIRED:
                        return None
                    return convert.body_of(self.expired(now), self._partitions)

                await change(self._store.operations, [convert.key_of(operation)], decide)
            await self.delete(operation)
        return ended

    async def _of(self, workspace_id: str, profile_ids: Iterable[str]) -> list[Operation]:
        found: list[Operation] = []
        for profile_id in profile_ids:
            after = ""
            while True:
                key = f"{workspace_id}/{profile_id}"
                page = await self._store.operations.query("by_profile", key, limit=_PAGE, after=after)
                found += map(convert.operation_of, page.documents)
                after = page.next
                if not after:
                    break
        return [operation for operation in found if operation.kind is Kind.EXPORT]


def _key(operation: Operation, number: int) -> str:
    return f"{convert.key_of(operation)}/{number:06}"
