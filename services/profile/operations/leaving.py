"""What the profile service itself holds on a person, and how it goes. Every method may be called again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from camino.profile.v1 import profile_events_pb2

from services.chassis.broker import Broker, StreamSpec
from services.chassis.dead_letters import DeadLetters
from services.chassis.documents import Collection, Document, change
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import derive_id, partition_of
from services.chassis.wire import timestamp
from services.profile import convert, finding
from services.profile.joining import Joining
from services.profile.operations.exports import Exports
from services.profile.operations.operation import Operation
from services.profile.operations.traces import Traces
from services.profile.store import Store

_PAGE = 500
_PAGES = 10
"""Pages that one step erases."""

Went = tuple[dict[str, int], bool]
"""How much of each kind was erased, and whether nothing is left."""


class Leaving:
    def __init__(
        self,
        store: Store,
        joining: Joining,
        traces: Traces,
        exports: Exports,
        dead_letters: DeadLetters,
        broker: Broker,
        publisher: Publisher,
        changes: StreamSpec,
        partitions: int,
    ) -> None:
        """`changes` is the stream of ProfileChanged, and of nothing else."""
        self._store = store
        self._joining = joining
        self._traces = traces
        self._exports = exports
        self._dead_letters = dead_letters
        self._broker = broker
        self._publisher = publisher
        self._changes = changes
        self._partitions = partitions

    async def traces_elsewhere(self, operation: Operation) -> Went:
        """What others' documents say of the person: before the own ones, which tell where to look."""
        await self._finish_joins(operation)
        await self._traces.erase(operation.workspace_id, operation.profile_ids)
        return {}, True

    async def documents(self, operation: Operation) -> Went:
        """Events, records and exports: those that grow, so some of them at a time."""
        counts = {"exports": await self._exports.expire_of(operation.workspace_id, operation.profile_ids)}
        for kind, collection in (("events", self._store.events), ("records", self._store.records)):
            erased, finished = await self._of_profiles(collection, operation)
            counts[kind] = erased
            if not finished:
                return counts, False
        return counts, True

    async def facts(self, operation: Operation) -> Went:
        """Facts on the broker, and dead letters."""
        facts = [
            await self._broker.purge(self._changes, operation.workspace_id, profile_id)
            for profile_id in operation.profile_ids
        ]
        letters = await self._dead_letters.erase(operation.workspace_id, operation.profile_ids)
        return {"facts": sum(facts), "dead_letters": letters}, True

    async def identities(self, operation: Operation) -> Went:
        """Those that are the person's: late, since whoever comes with one of them now is somebody new."""
        erased = await self._listed(operation)
        for profile_id in operation.profile_ids:
            while page := (await self._store.identities.query("by_profile", profile_id, limit=_PAGE)).documents:
                erased += await self._store.identities.delete([identity.id for identity in page])
        return {"identities": erased}, True

    async def _listed(self, operation: Operation) -> int:
        """Erase the identities that the profile lists, also those that were given to a place which was only kept for
        somebody: nobody knows its id."""
        found = await finding.profiles(self._store, operation.workspace_id, [operation.profile_id])
        bodies = [document.body for document in found.values()]
        listed = [(namespace, value) for body in bodies for namespace, value in body["identities"]]
        owners = await finding.owners(self._store, operation.workspace_id, listed)
        places = await finding.standing(
            self._store, operation.workspace_id, {owner.profile_id for owner in owners.values() if owner.profile_id}
        )
        theirs = [
            convert.identity_key(operation.workspace_id, identity)
            for identity, owner in owners.items()
            if owner.profile_id and places[owner.profile_id].profile_id == operation.profile_id
        ]
        return await self._store.identities.delete(theirs)

    async def profile(self, operation: Operation) -> Went:
        """The profile, and the graves of those that had turned out to be the same person: what stays of each is which
        operation erased it."""
        mark = {"erased": operation.operation_id}

        def decide(_key: str, found: Document | None) -> dict[str, Any] | None:
            return mark if found and found.body != mark else None

        keys = [f"{operation.workspace_id}/{profile_id}" for profile_id in operation.profile_ids]
        there = await self._store.profiles.get(keys)
        await change(self._store.profiles, reversed(keys), decide, known=there)
        return {"profiles": sum(document.body != mark for document in there.values())}, True

    async def tell(self, operation: Operation, now: int) -> None:
        """Publish that it's done."""
        message = profile_events_pb2.ProfileErased(
            workspace_id=operation.workspace_id,
            profile_id=operation.profile_id,
            merged_profile_ids=operation.merged,
            operation_id=operation.operation_id,
            erase_time=timestamp(now),
        )
        partition = partition_of(operation.profile_id, self._partitions)
        subject = subject_of(type(message), operation.workspace_id, partition, operation.profile_id)
        await self._publisher.publish([Outgoing(subject, message, derive_id("erased", subject))])

    async def look_again(self, operation: Operation) -> None:
        """Erase what was written by somebody who had seen the profile before it was marked, and hung until after its
        end."""
        await self._finish_joins(operation)
        for collection in (self._store.events, self._store.records):
            finished = False
            while not finished:
                _, finished = await self._of_profiles(collection, operation)
        await self.facts(operation)
        await self.identities(operation)

    async def _of_profiles(self, collection: Collection, operation: Operation) -> tuple[int, bool]:
        erased = 0
        for profile_id in operation.profile_ids:
            key = f"{operation.workspace_id}/{profile_id}"
            for _ in range(_PAGES):
                page = await collection.query("by_profile", key, limit=_PAGE)
                erased += await collection.delete([document.id for document in page.documents])
                if not page.next:
                    break
            else:
                return erased, False
        return erased, True

    async def _finish_joins(self, operation: Operation) -> None:
        """Finish what was settled about several profiles and concerns the person: it's written down with all that they
        were."""
        ids = frozenset(operation.profile_ids)
        after = ""
        while True:
            page = await self._store.joins.scan(limit=_PAGE, after=after, prefix=f"{operation.workspace_id}/")
            theirs = [plan for plan in page.documents if not ids.isdisjoint(_concerned(plan.body))]
            if theirs:
                await self._joining.due(theirs)
            after = page.next
            if not after:
                return


def _concerned(plan: Mapping[str, Any]) -> Iterable[str]:
    return [*plan.get("locked", ()), *(profile_id for profile_id, _ in plan.get("bodies", ()))]
