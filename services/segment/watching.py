"""Following who is in which segment: everybody who is, then every change.

What is told at first is the projection, read after the end of the stream was noted. A transition is projected before
it's published (see `outbox`): so whatever stands in the stream before that end is in what is read, and what isn't comes
after it. What is in both comes twice, which the sequence of each member shows.

That holds however long the reading takes: so a stream that ends meanwhile is gone on with where it was, and not begun
anew.

Nothing is kept for a reader but the page that it's being told: it's asked for the next when it has taken that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from itertools import zip_longest

from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_service_pb2 import WatchMembershipsRequest, WatchMembershipsResponse

from services.chassis.clock import SECOND, Clock, Instant
from services.chassis.errors import NotFound
from services.chassis.metrics import Metrics
from services.chassis.tail import Place, Stored, Tail
from services.segment import convert
from services.segment.cursors import Cursors, Told
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
        told = cursors.told(request.cursor) if request.cursor else None
        place = told.place if told else await self._tail.newest()
        # Only now: of all segments those are told that there are, and what is published later begins after that end.
        published = (await self._registry.refresh(request.workspace_id)).heads
        segment_ids = sorted(cursors.segment_ids or published)
        for segment_id in segment_ids:
            if segment_id not in published:
                raise NotFound.of("segment", segment_id)
        told = told or Told(place, next(iter(segment_ids), ""))
        if told.segment_id:
            async for response in self._members(cursors, segment_ids, told):
                yield response
        async with aclosing(self._changes(cursors, told.place)) as changes:
            async for response in changes:
                yield response

    async def _members(
        self, cursors: Cursors, segment_ids: Sequence[str], told: Told
    ) -> AsyncIterator[WatchMembershipsResponse]:
        left = [segment_id for segment_id in segment_ids if segment_id >= told.segment_id]
        for segment_id, following in zip_longest(left, left[1:], fillvalue=""):
            if told.segment_id != segment_id:
                told = Told(told.place, segment_id)
            while told.segment_id == segment_id:
                page = await self._store.memberships.query(
                    "members",
                    convert.member_of(cursors.workspace_id, segment_id),
                    limit=self._at_once,
                    after=told.after,
                )
                told = Told(told.place, segment_id, page.next) if page.next else Told(told.place, following)
                if page.documents:
                    yield WatchMembershipsResponse(
                        members=convert.segment_members(segment_id, page.documents),
                        members_cursor=cursors.of_told(told) if told.segment_id else "",
                    )

    async def _changes(self, cursors: Cursors, place: Place) -> AsyncGenerator[WatchMembershipsResponse, None]:
        workspace_id, segment_ids = cursors.workspace_id, cursors.segment_ids
        # The first cursor comes at once, so that a reader who is up to date knows it.
        quiet_until = self._clock.now()
        while True:
            read = await self._tail.read(workspace_id, place, _CHANGES)
            place = read.through
            told = [one for one in read.messages if not segment_ids or one.message.segment_id in segment_ids]
            if told or self._clock.now() >= quiet_until:
                cursor = cursors.of_told(Told(place))
                response = WatchMembershipsResponse(changes=[one.message for one in told], cursor=cursor)
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
