"""What an event costs: of people who are known, and of people who are new."""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

from camino.profile.v1.profile_events_pb2 import ProfileChanged

from bench.segments.people import People, definitions
from bench.segments.running import PARTITIONS, Service, broker_and_service
from services.chassis.clock import MILLISECOND, SystemClock
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import partition_of
from services.chassis.testing import eventually

PEOPLE = 20_000
EVENTS = 30_000
ARRIVALS = 15_000
_OUTBOX = re.compile(r"^camino_outbox_age_seconds (\S+)", re.MULTILINE)
_LOOK = 100 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Streamed:
    events_per_s: float
    cpu_us: float
    """Of the service, for an event."""
    broker_cpu_us: float
    transitions: float
    """For an event."""


async def known(segments: int, seed: int) -> Streamed:
    """Events of people whose facts are stored."""
    async with broker_and_service() as service:
        await service.publish(definitions(segments))
        people = People(PEOPLE, segments, seed=seed)
        async with service.stored() as (store, rules):
            await people.write(store, rules, SystemClock().now())
        return await _drained(service, people.changes(EVENTS, SystemClock().now()))


async def new(segments: int, seed: int) -> Streamed:
    """The first event of each of so many people."""
    async with broker_and_service() as service:
        await service.publish(definitions(segments))
        people = People(ARRIVALS, segments, seed=seed)
        return await _drained(service, people.arrivals(SystemClock().now()))


async def _drained(service: Service, changes: Iterable[ProfileChanged]) -> Streamed:
    """Publish changes, start the service, and see how it takes them in, until all that follows is published too."""
    batch = []
    for number, change in enumerate(changes):
        profile = change.profile
        partition = partition_of(profile.profile_id, PARTITIONS)
        subject = subject_of(ProfileChanged, profile.workspace_id, partition, profile.profile_id)
        batch.append(Outgoing(subject, change, f"change-{number}"))
    await Publisher(service.broker, "bench").publish(batch)
    before = await service.broker.jetstream.stream_info("CAMINO_SEGMENT")
    await service.start()
    left = await _behind(service, below=len(batch))
    began, cpu, broker_cpu = time.perf_counter(), service.cpu_s(), service.cpu_s("nats")
    await _behind(service, below=1)
    await eventually(lambda: _published(service), within_s=60)
    seconds = time.perf_counter() - began
    cpu, broker_cpu = service.cpu_s() - cpu, service.cpu_s("nats") - broker_cpu
    after = await service.broker.jetstream.stream_info("CAMINO_SEGMENT")
    transitions = after.state.messages - before.state.messages
    return Streamed(left / seconds, cpu / left * 1e6, broker_cpu / left * 1e6, transitions / len(batch))


async def _behind(service: Service, *, below: int) -> int:
    """How many changes it has yet to take in, as soon as that's fewer than so many."""
    clock = SystemClock()
    while (left := await service.behind()) >= below:
        await clock.wait_until(clock.now() + _LOOK)
    return left


async def _published(service: Service) -> bool:
    """Whether nothing waits to be published, as far as the service's metrics tell."""

    def read() -> str:
        with urllib.request.urlopen(f"http://{service.stack.metrics('segment')}/metrics") as reply:
            return str(reply.read().decode())

    found = _OUTBOX.search(await asyncio.to_thread(read))
    assert found is not None
    return float(found[1]) == 0.0
