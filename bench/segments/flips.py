"""How late memberships change that time alone changes, with a million of them to come."""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_pb2 import SegmentDefinition
from google.protobuf.json_format import ParseDict
from nats.js.api import ConsumerConfig, DeliverPolicy

from bench.segments.running import PARTITIONS, WORKSPACE, Service, broker_and_service
from services.chassis.clock import DAY, SECOND, SystemClock
from services.chassis.documents import Document
from services.chassis.ids import new_id, partition_of
from services.chassis.wire import instant
from services.segment import convert
from services.segment.domain import Person
from services.segment.rules import Rules
from services.segment.state import Event, ProfileState
from services.segment.store import Store

PENDING = int(os.environ.get("FLIPS", "1000000"))
RATE = 1_000
SLICE_S = 20
_WITHIN = 30 * DAY
_SEEDING_S = 70 * PENDING / 1_000_000
_SETTLING_S = 5
_WRITE = 5_000


@dataclass(frozen=True, slots=True)
class Flipped:
    per_s: float
    p50: float
    """Milliseconds from the instant of a flip until the broker had stored what tells of it, as are the others."""
    p99: float
    longest: float
    cpu_us: float
    """Of the service, for a flip."""
    memory_mb: float


async def flipped(runs: int) -> list[Flipped]:
    """So many slices of one run, one after the other."""
    condition = {
        "event": {"eventType": "visit", "window": {"within": f"{_WITHIN // SECOND}s"}, "count": {"atLeast": 1}}
    }
    definition = ParseDict({"condition": condition}, SegmentDefinition())
    async with broker_and_service() as service:
        await service.publish({"active": definition})
        async with service.stored() as (store, rules):
            await _write(store, rules, SystemClock().now() + int(_SEEDING_S * SECOND))
        await service.start()
        # Those that came due meanwhile.
        await asyncio.sleep(_SETTLING_S)
        return [await _slice(service) for _ in range(runs)]


async def _write(store: Store, rules: Rules, first: int) -> None:
    """People who leave the segment from `first` on, one after the other."""
    profiles: list[Document] = []
    memberships: list[Document] = []
    for profile, membership in _people(rules, first):
        profiles.append(profile)
        memberships.append(membership)
        if len(profiles) == _WRITE:
            await asyncio.gather(store.facts.put(profiles), store.memberships.put(memberships))
            profiles, memberships = [], []
    if profiles:
        await asyncio.gather(store.facts.put(profiles), store.memberships.put(memberships))


def _people(rules: Rules, first: int) -> Iterator[tuple[Document, Document]]:
    """Each as they'd be stored after their one event: worked out for one of them, and moved in time for the others."""
    state = ProfileState()
    entered = first - _WITHIN
    now = state.catch_up(rules, entered)
    state.observe_profile(1, Person({"first_name": "Ana", "city": "Madrid"}), rules, now)
    state.observe_event(Event("visit", "visit", entered, {"value": 1.0}), rules, now)
    [entry] = state.outbox
    state.outbox.clear()
    known = convert.membership_body(WORKSPACE, entry)
    [membership], [history] = state.memberships.values(), state.facts.events.values()
    for number in range(PENDING):
        at = entered + number * SECOND // RATE
        state.as_of = membership.entered_at = history.at[0] = at
        membership.until = at + _WITHIN
        profile_id = new_id()
        body = convert.state_body(state, WORKSPACE, partition_of(profile_id, PARTITIONS))
        body["events"] = {"visit": [[at], ["visit"], [{"value": 1.0}]]}
        key = convert.membership_key(WORKSPACE, "active", profile_id)
        yield Document(convert.key_of(WORKSPACE, profile_id), body), Document(key, {**known, "at": at})


async def _slice(service: Service) -> Flipped:
    stream = service.broker.jetstream
    first = (await stream.stream_info("CAMINO_SEGMENT")).state.last_seq + 1
    cpu = service.cpu_s()
    await asyncio.sleep(SLICE_S)
    cpu = service.cpu_s() - cpu
    last = (await stream.stream_info("CAMINO_SEGMENT")).state.last_seq
    late = await _lateness(service, first, last)
    percentiles = statistics.quantiles(late, n=100)
    return Flipped(
        len(late) / SLICE_S, percentiles[49], percentiles[98], max(late), cpu / len(late) * 1e6, service.memory_mb()
    )


async def _lateness(service: Service, first: int, last: int) -> list[float]:
    """Of the transitions with these numbers in the stream, in milliseconds."""
    start = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
    subject = f"{MembershipChanged.DESCRIPTOR.full_name}.>"
    told = await service.broker.jetstream.subscribe(subject, ordered_consumer=True, config=start)
    late: list[float] = []
    while len(late) < last - first + 1:
        message = await told.next_msg(timeout=10)
        change = MembershipChanged.FromString(message.data)
        late.append(message.metadata.timestamp.timestamp() * 1_000 - instant(change.effective_at) / 1_000)
    await told.unsubscribe()
    return late
