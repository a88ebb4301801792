"""Facts and time as they come: the shell around `tracking`, for a batch of profiles at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from camino.profile.v1 import profile_events_pb2

from services.chassis.clock import Clock
from services.chassis.consumer import Dead, Retry
from services.chassis.documents import Document, change
from services.chassis.ids import partition_of
from services.segment import convert
from services.segment.convert import Body
from services.segment.registry import Registry
from services.segment.store import SWEEP_AFTER, Store
from services.segment.tracking import Cause, Segment, Tracked


class Streaming:
    """Keeps every profile's memberships true: on each change, at each instant at which time changes one, and when a
    segment is edited.

    However a look at a profile came about, its facts, memberships and transitions are written in one document, by
    compare-and-set. So a message that comes again, or two replicas at once, make no second transition.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        partitions: int,
        *,
        relay: Callable[[Iterable[Document]], None],
        hint: Callable[[int, int], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._partitions = partitions
        self._relay = relay
        self._hint = hint

    async def changed(self, messages: list[profile_events_pb2.ProfileChanged]) -> Mapping[int, Retry | Dead]:
        """Take changes of profiles, and evaluate the segments that they touch."""
        by_profile: dict[str, list[profile_events_pb2.ProfileChanged]] = {}
        for message in messages:
            by_profile.setdefault(f"{message.profile.workspace_id}/{message.profile.profile_id}", []).append(message)

        def take(key: str, tracked: Tracked, now: int) -> bool:
            workspace_id = key.partition("/")[0]
            news = False
            for message in by_profile[key]:
                news = self._take(workspace_id, tracked, message, now) or news
            return news

        await self._look(by_profile, take)
        return {}

    async def woken(self, due: list[Document]) -> None:
        """Let time pass for profiles for which it changes something."""

        def take(_key: str, _tracked: Tracked, _now: int) -> bool:
            return True

        await self._look([document.id for document in due], take, {document.id: document for document in due})

    async def recompute(self, segment: Segment, documents: list[Document]) -> None:
        """Evaluate a newly published version for profiles."""

        def take(_key: str, tracked: Tracked, now: int) -> bool:
            tracked.look(segment, now, Cause.EDIT)
            return True

        await self._look([document.id for document in documents], take, {d.id: d for d in documents})

    async def _look(
        self,
        keys: Iterable[str],
        take: Callable[[str, Tracked, int], bool],
        known: Mapping[str, Document] | None = None,
    ) -> None:
        now = self._clock.now()

        def decide(key: str, document: Document | None) -> Body | None:
            workspace_id, _, profile_id = key.partition("/")
            tracked = convert.tracked_of(document.body) if document else Tracked()
            # What time did before this comes first, at the instant it did it.
            tracked.catch_up(self._registry.of(workspace_id), now)
            if not take(key, tracked, now):
                return None
            return convert.tracked_body(tracked, partition_of(profile_id, self._partitions), now + SWEEP_AFTER)

        documents = await change(self._store.facts, keys, decide, known=known)
        self._relay(document for document in documents.values() if document.body["outbox"])
        for document in documents.values():
            if document.body["wake_at"]:
                self._hint(document.body["partition"], document.body["wake_at"])

    def _take(self, workspace_id: str, tracked: Tracked, message: profile_events_pb2.ProfileChanged, now: int) -> bool:
        """Take one change; whether it was news."""
        new = not tracked.revision
        changed = tracked.take_profile(message.profile.revision, lambda: convert.attributes_of(message.profile))
        if new:
            for segment in self._registry.of(workspace_id).values():
                tracked.look(segment, now, Cause.PROFILE)
        elif changed:
            for segment in self._registry.touched_by_attributes(workspace_id, changed):
                tracked.look(segment, now, Cause.PROFILE)
        if not message.HasField("event"):
            return changed is not None
        wire = message.event
        properties = {name: convert.value_of(value) for name, value in wire.properties.items()}
        if not tracked.take_event(wire.event_id, wire.type, convert.instant(wire.occurred_at), properties):
            return changed is not None
        for segment in self._registry.touched_by_event(workspace_id, wire.type):
            tracked.look(segment, now, Cause.EVENT, wire.event_id)
        return True
