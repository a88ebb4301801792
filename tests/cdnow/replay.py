"""The cohort's life again, in the order of time, with each timer at its instant."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import segment_service_pb2

from services.chassis.clock import Instant
from services.chassis.due import Due
from services.chassis.testing import FakeClock
from services.segment import convert
from services.segment.erasing import Erasing
from services.segment.outbox import Outbox
from services.segment.rules import Rules
from services.segment.standing import Transition
from services.segment.state import ProfileState
from services.segment.store import Store
from services.segment.timers import Timers
from tests.cdnow.cohort import WORKSPACE, Customer
from tests.cdnow.rules import documents
from tests.segments import PARTITIONS, Published, Replica

_QUERIES = 1_000
"""In one request, at most."""


@dataclass
class Lived:
    """What became of one person."""

    state: ProfileState
    members: dict[Instant, set[str]] = field(default_factory=dict)
    """The segments that the person was in, at the dates at which there was anything known of them."""
    timers: int = 0

    @property
    def transitions(self) -> list[Transition]:
        return self.state.outbox


def live(customer: Customer, rules: Rules, dates: Sequence[Instant]) -> Lived:
    """A life in memory, through `ProfileState` alone."""
    state = ProfileState()
    lived = Lived(state)
    told = dict(customer.told())
    for now in sorted({*told, *dates}):
        while state.wake_at <= now:
            state.catch_up(rules, state.wake_at)
            lived.timers += 1
        # The order of the day's purchases isn't that in which they're told.
        for change in reversed(told.get(now, ())):
            caught_up = state.catch_up(rules, now)
            state.observe_profile(change.profile.revision, convert.person_of(change.profile), rules, caught_up)
            state.observe_event(convert.event_of(change.event), rules, caught_up)
        if now in dates and now >= customer.purchases[0].at:
            lived.members[now] = {id_ for id_, held in state.memberships.items() if held.member}
    return lived


class Service:
    """The segment service as it's put together in production, but for the network: a store, a clock moved by hand, what
    would be published kept."""

    def __init__(self, store: Store, start: Instant) -> None:
        self.clock = FakeClock(start)
        self.published = Published()
        self._replica = replica = Replica(store, self.clock)
        self._outbox = Outbox(store, self.published)
        erasing = Erasing(store, replica.profiles, self.published, self.published.purge, self.clock)
        self._due = Due(
            "membership-timers",
            store.facts,
            "wake",
            "wake_at",
            held=lambda: range(PARTITIONS),
            clock=self.clock,
            act=Timers(replica.profiles, replica.merging, erasing, replica.relayed.extend).fire,
        )
        self._instants: list[Instant] = []
        self._known: set[Instant] = set()
        replica.profiles.hint = self._hint

    async def publish(self) -> None:
        for document in documents():
            await self._replica.servicer.PublishSegment(document.request, None)

    async def live(
        self, customers: Iterable[Customer], dates: Iterable[Instant], look: Callable[[Instant], Awaitable[None]]
    ) -> None:
        """Let everything happen when it did, and call `look` at each date."""
        told: dict[Instant, list[ProfileChanged]] = {}
        for customer in customers:
            for now, changes in customer.told():
                told.setdefault(now, []).extend(changes)
        left = sorted(dates)
        for now in (*told, *left):
            self._happens(now)
        while left:
            now = heapq.heappop(self._instants)
            self.clock.advance(now - self.clock.now())
            while await self._due.tick():
                pass
            if now in told:
                await self._replica.intake.handle(told[now])
            await self._outbox.deliver(self._replica.relayed)
            self._replica.relayed.clear()
            if now == left[0]:
                await look(left.pop(0))

    async def listed(self, segment_id: str) -> set[str]:
        """A segment's members, as they're listed."""
        found: set[str] = set()
        request = segment_service_pb2.ListMembersRequest(workspace_id=WORKSPACE, segment_id=segment_id)
        while True:
            reply = await self._replica.servicer.ListMembers(request, None)
            found.update(reply.profile_ids)
            if not reply.next_page_token:
                return found
            request.page_token = reply.next_page_token

    async def checked(self, customer_ids: Iterable[str], segment_ids: Sequence[str]) -> dict[str, set[str]]:
        """The segments that each of these is in, as it's answered inside a request."""
        asked = list(customer_ids)
        found: dict[str, set[str]] = {}
        for start in range(0, len(asked), _QUERIES):
            some = asked[start : start + _QUERIES]
            request = segment_service_pb2.CheckMembershipRequest(workspace_id=WORKSPACE)
            for customer_id in some:
                request.queries.add(profile_id=customer_id, segment_ids=segment_ids)
            answers = (await self._replica.servicer.CheckMembership(request, None)).answers
            found.update((id_, set(answer.member_of)) for id_, answer in zip(some, answers, strict=True))
        return found

    def _hint(self, partition: int, at: Instant) -> None:
        self._due.hint(partition, at)
        self._happens(at)

    def _happens(self, at: Instant) -> None:
        if at not in self._known:
            self._known.add(at)
            heapq.heappush(self._instants, at)
