"""Following who is in which segment: everybody who is, then every change.

What is told at first is the projection, read after the end of the stream was noted. A transition is projected before
it's published (see `outbox`): so whatever stands in the stream before that end is in what is read, and what isn't comes
after it. What is in both comes twice, which the sequence of each member shows.

Nothing is kept for a reader but the page that it's being told: it's asked for the next when it has taken that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager

from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_service_pb2 import SegmentMembers, WatchMembershipsRequest, WatchMembershipsResponse

from services.chassis.clock import SECOND, Clock, Instant
from services.chassis.errors import NotFound
from services.chassis.metrics import Metrics
from services.chassis.tail import Place, Stored, Tail
from services.segment import convert
from services.segment.cursors import Cursors
from services.segment.measures import TOLD_CHANGES, WATCH_LAG
from services.segment.registry import Registry
from services.segment.store import Store

_CHANGES = 500
_QUIET = 15 * SECOND
"""How long nothing is told at most: so whoever follows sees that the connection is alive, and gets a newer cursor."""


class Watching:
    """Those who follow memberships at this replica. They're told so many `members` at once."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        tail: Tail[MembershipChanged],
        clock: Clock,
        metrics: Metrics,
        *,
        members: int = 1_000,
    ) -> None:
        self._store = store
        self._registry = registry
        self._tail = tail
        self._clock = clock
        self._at_once = members
        self._told = metrics.counter(TOLD_CHANGES)
        self._owed: dict[object, Instant] = {}
        metrics.read(WATCH_LAG, self._lag)

    async def watch(self, request: WatchMembershipsRequest) -> AsyncGenerator[WatchMembershipsResponse, None]:
        """Raises `NotFound`, `CursorExpired`, `InvalidArgument` for a cursor that isn't one of this question, and
        `BrokerUnavailable`."""
        cursors = Cursors.of(request.workspace_id, request.segment_ids)
        place = cursors.place(request.cursor) if request.cursor else None
        published = (await self._registry.refresh(request.workspace_id)).heads
        for segment_id in request.segment_ids:
            if segment_id not in published:
                raise NotFound.of("segment", segment_id)
        if place is None:
            place = await self._tail.newest()
            async for members in self._members(request.workspace_id, cursors.segment_ids):
                yield WatchMembershipsResponse(members=members)
        async with aclosing(self._changes(cursors, place)) as changes:
            async for response in changes:
                yield response

    async def _members(self, workspace_id: str, segment_ids: Collection[str]) -> AsyncIterator[SegmentMembers]:
        # Of all segments, those that there are now: what is published later begins after the end that was noted.
        for segment_id in sorted(segment_ids or (await self._registry.refresh(workspace_id)).heads):
            after = ""
            while True:
                page = await self._store.memberships.query(
                    "members", convert.member_of(workspace_id, segment_id), limit=self._at_once, after=after
                )
                if page.documents:
                    yield convert.segment_members(segment_id, page.documents)
                after = page.next
                if not after:
                    break

    async def _changes(self, cursors: Cursors, place: Place) -> AsyncGenerator[WatchMembershipsResponse, None]:
        workspace_id, segment_ids = cursors.workspace_id, cursors.segment_ids
        # The first cursor comes at once, so that a reader who is up to date knows it.
        quiet_until = self._clock.now()
        while True:
            read = await self._tail.read(workspace_id, place, _CHANGES)
            place = read.through
            told = [one for one in read.messages if not segment_ids or one.message.segment_id in segment_ids]
            if told or self._clock.now() >= quiet_until:
                response = WatchMembershipsResponse(changes=[one.message for one in told], cursor=cursors.at(place))
                self._told.inc(len(told))
                with self._owing(told):
                    yield response
                quiet_until = self._clock.now() + _QUIET
            await self._tail.arrived(workspace_id, place, quiet_until)

    @contextmanager
    def _owing(self, told: Sequence[Stored[MembershipChanged]]) -> Iterator[None]:
        """While a reader takes these."""
        reader = object()
        if told:
            self._owed[reader] = told[0].stored_at
        try:
            yield
        finally:
            self._owed.pop(reader, None)

    async def _lag(self) -> Mapping[tuple[str, ...], float]:
        now = self._clock.now()
        return {(): max(0, now - min(self._owed.values(), default=now)) / SECOND}
