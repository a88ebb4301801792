"""Erasing people: nothing is left of them but the ids that must not come back, and what tells that they're gone.

The mark that stands where a profile was is written first, by compare-and-set: so no fact that is under way has an
effect any more. Then the traces are taken away, and the exits published.

Some other replica may have hold of an older state at that moment, and yet project, keep or publish what that owed. So
all is done once more when whoever had hold of one has let it go. The exits are published and not kept: a history is of
somebody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis.clock import Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import new_id
from services.segment import convert, graves, history
from services.segment.profiles import Profiles
from services.segment.rules import Rules
from services.segment.state import ProfileState
from services.segment.store import Store

Purge = Callable[[str, str], Awaitable[object]]
"""Removes what was published of a profile's memberships, by workspace and profile id."""


class Erasing:
    def __init__(self, store: Store, profiles: Profiles, publisher: Publisher, purge: Purge, clock: Clock) -> None:
        self._store = store
        self._profiles = profiles
        self._publisher = publisher
        self._purge = purge
        self._clock = clock

    async def erase(self, workspace_id: str, profile_ids: Iterable[str]) -> Mapping[str, int]:
        """Erase profiles. How much of each kind there was. Raises `BrokerUnavailable`, to be repeated."""
        keys = [convert.key_of(workspace_id, profile_id) for profile_id in profile_ids]

        def erase(_key: str, state: ProfileState, rules: Rules, now: Instant) -> None:
            state.erase(rules, now)

        def erase_grave(_key: str, document: Document | None) -> convert.Body | None:
            if document is None or not graves.joined_to(document.body):
                return None
            return graves.erased_grave(document.body, self._clock.now())

        await self._profiles.record(keys, erase)
        # A grave never becomes a profile again: whatever is no mark yet, is one after this.
        marks = await change(self._store.facts, keys, erase_grave)
        counts: dict[str, int] = {}
        for mark in marks.values():
            for kind, count in mark.body.get("counts", {}).items():
                counts[kind] = counts.get(kind, 0) + count
        await self.settle(marks.values())
        return counts

    async def settle(self, documents: Iterable[Document]) -> None:
        """Take away what is projected, kept and published of erased profiles, and tell their exits."""
        marks = [document for document in documents if graves.is_unsettled(document.body)]
        batch: list[Outgoing] = []
        for mark in marks:
            workspace_id, _, profile_id = mark.id.partition("/")
            await history.forget(self._store.transitions, workspace_id, profile_id)
            segment_ids = mark.body["segments"]
            if not segment_ids:
                continue
            await self._store.memberships.delete(
                [convert.membership_key(workspace_id, segment_id, profile_id) for segment_id in segment_ids]
            )
            # Before the exits are published, so that those remain.
            await self._purge(workspace_id, profile_id)
            subject = subject_of(MembershipChanged, workspace_id, mark.body["partition"], profile_id)
            batch += [
                # Never the same id: the broker would take it for the one that it was just told to remove.
                Outgoing(subject, convert.membership_changed(workspace_id, profile_id, exit_), new_id())
                for exit_ in graves.exits_of(mark.body)
            ]
        await self._publisher.publish(batch)
        now = self._clock.now()

        def settled(_key: str, document: Document | None) -> convert.Body | None:
            return graves.settled(document.body, now) if document else None

        await change(self._store.facts, [mark.id for mark in marks], settled)
