"""Erasing a person, in all services: marks the profile, has the others erase theirs, and then erases its own part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from services.chassis.clock import MINUTE, SECOND, Clock
from services.chassis.documents import Document
from services.chassis.ids import derive_id
from services.profile import convert, finding
from services.profile.joining import Joining
from services.profile.operations.clients import OTHERS, Others, endpoints
from services.profile.operations.convert import operation_of
from services.profile.operations.leaving import Leaving
from services.profile.operations.obstacle import Obstacle
from services.profile.operations.operation import Kind, Operation, State
from services.profile.store import Store

PROFILE = "profile"

CALM = 2 * SECOND
"""From the mark to the profile service's own part: whatever had seen the profile before it was marked has then written
what it writes, unless it hangs."""
AGAIN = 5 * MINUTE
"""From the end to a last look for what hung: no call takes so long."""


def new_erasure(workspace_id: str, profile_id: str, now: int) -> Operation:
    """The erasure of a profile: always the same one."""
    operation_id = derive_id("erase", workspace_id, profile_id)
    return Operation(workspace_id, operation_id, Kind.ERASE, profile_id, now, now)


class Erasing:
    """In this order, so that a crash anywhere loses nothing of what is still to be erased, and leaves no identity that
    points at nobody:

    1. the profile is marked: from now on it stays as it is, and names all that has to go;
    2. the others erase theirs, each with a receipt;
    3. the own part (see `Leaving`), of which the profile itself, with its list of identities, goes last;
    4. `ProfileErased` is published, and the operation is done;
    5. later, what had been under way is looked for once more.
    """

    def __init__(self, store: Store, joining: Joining, others: Others, leaving: Leaving, clock: Clock) -> None:
        self._store = store
        self._joining = joining
        self._others = others
        self._leaving = leaving
        self._clock = clock

    async def step(self, operation: Operation) -> Operation:
        """The next step. Raises `Obstacle`."""
        now = self._clock.now()
        if operation.state is not State.RUNNING:
            await self._leaving.look_again(operation)
            return replace(operation, due_at=None)
        if not operation.marked_at:
            return await self._mark(operation)
        if service := operation.next_of(OTHERS):
            profile = await self._profile(operation)
            where = endpoints(profile.body.get("identities", ())) if profile else ()
            counts = await self._others.erase(service, operation.workspace_id, operation.profile_ids, where)
            return replace(operation.counted(counts).receipted(service, self._clock.now()), due_at=now)
        if now < operation.marked_at + CALM:
            return replace(operation, due_at=operation.marked_at + CALM)
        return await self._own_part(operation, now)

    async def _own_part(self, operation: Operation, now: int) -> Operation:
        stages: list[Callable[[Operation], Awaitable[tuple[dict[str, int], bool]]]] = [
            self._leaving.traces_elsewhere,
            self._leaving.documents,
            self._leaving.facts,
            self._leaving.identities,
            self._leaving.profile,
        ]
        if operation.stage < len(stages):
            counts, finished = await stages[operation.stage](operation)
            return replace(operation.counted(counts), stage=operation.stage + finished, due_at=now)
        await self._leaving.tell(operation, now)
        return replace(operation.receipted(PROFILE, now), state=State.DONE, ended_at=now, due_at=now + AGAIN)

    async def _mark(self, operation: Operation) -> Operation:
        now = self._clock.now()
        place = (await finding.standing(self._store, operation.workspace_id, [operation.profile_id]))[
            operation.profile_id
        ]
        # It may have turned out to be the same person as another since it was asked for.
        operation = replace(operation, profile_id=place.profile_id)
        document = place.document
        if document is None or document.body.get("erased") == operation.operation_id:
            return replace(operation, marked_at=now, due_at=now)
        if convert.lock_of(document.body):
            await self._joining.settle([document])
            raise Obstacle("the profile is being joined to another")
        other = document.body.get("erased") or document.body.get("erasing") or operation.operation_id
        if other != operation.operation_id and (ahead := await self._operation(operation.workspace_id, str(other))):
            return _as_the_other(operation, ahead)

        marked = Document(document.id, {**document.body, "erasing": operation.operation_id}, document.rev)
        if not (await self._store.profiles.put([marked])).saved:
            return replace(operation, due_at=now)
        return replace(operation, merged=tuple(document.body.get("merged", ())), marked_at=now, due_at=now)

    async def _operation(self, workspace_id: str, operation_id: str) -> Operation | None:
        key = f"{workspace_id}/{operation_id}"
        found = (await self._store.operations.get([key])).get(key)
        return operation_of(found) if found else None

    async def _profile(self, operation: Operation) -> Document | None:
        key = f"{operation.workspace_id}/{operation.profile_id}"
        return (await self._store.profiles.get([key])).get(key)


def _as_the_other(operation: Operation, other: Operation) -> Operation:
    """What was asked for as two people, who turned out to be one, is erased once: the one operation ends as the other
    does. Raises `Obstacle` until then."""
    if other.state is State.RUNNING:
        raise Obstacle(f"the same person is being erased by operation {other.operation_id}")
    ended = replace(operation, state=State.DONE, ended_at=other.ended_at, due_at=None)
    return replace(ended, receipts=other.receipts, merged=other.merged)
