"""What it takes to ask, at so many questions a second, whether someone is in three segments."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from camino.segment.v1 import segment_service_pb2, segment_service_pb2_grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.segments.people import People, definitions
from bench.segments.running import WORKSPACE, Service, broker_and_service
from services.chassis.clients import open_channel
from services.chassis.clock import SystemClock

PEOPLE = 100_000
SEGMENTS = 200
RATE = 500
CHECKS = 5_000
_WARM = 500

Call = Callable[[Message], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Checked:
    p50: float
    """In milliseconds, from when a question was due, as are the others."""
    p99: float
    cpu_us: float
    """Of the service, for a question."""
    bare_p50: float
    """Of as many calls just before, to which the service has only to say that it's well."""
    bare_p99: float
    bare_cpu_us: float


async def checked(runs: int) -> list[Checked]:
    """So many times in turn, over the same people."""
    async with broker_and_service() as service:
        await service.publish(definitions(SEGMENTS))
        # One kind each: so all ten events are in the windows of the three segments that are asked.
        people = People(PEOPLE, SEGMENTS, favourites=1)
        async with service.stored() as (store, rules):
            await people.write(store, rules, SystemClock().now())
        await service.start()
        chance = Random(1)
        async with open_channel(service.stack.target("segment"), timeout_s=60) as channel:
            check = segment_service_pb2_grpc.SegmentServiceStub(channel).CheckMembership
            well = health_pb2_grpc.HealthStub(channel).Check
            await _asked(check, [_question(people, chance) for _ in range(_WARM)])
            found = []
            for _ in range(runs):
                bare, bare_cpu = await _measured(service, well, [health_pb2.HealthCheckRequest()] * CHECKS)
                took, cpu = await _measured(service, check, [_question(people, chance) for _ in range(CHECKS)])
                found.append(Checked(took[49], took[98], cpu, bare[49], bare[98], bare_cpu))
            return found


def _question(people: People, chance: Random) -> segment_service_pb2.CheckMembershipRequest:
    someone = chance.choice(people.all)
    [kind] = someone.kinds
    first = 3 * int(kind.removeprefix("kind_"))
    question = segment_service_pb2.CheckMembershipRequest(workspace_id=WORKSPACE)
    query = question.queries.add(profile_id=someone.profile_id)
    query.segment_ids.extend(f"segment-{number}" for number in range(first, first + 3))
    return question


async def _measured(service: Service, call: Call, requests: Sequence[Message]) -> tuple[list[float], float]:
    """The percentiles of what they took, and the service's CPU µs for each."""
    cpu = service.cpu_s()
    took = await _asked(call, requests)
    cpu = service.cpu_s() - cpu
    return statistics.quantiles(took, n=100), cpu / len(requests) * 1e6


async def _asked(call: Call, requests: Sequence[Message]) -> list[float]:
    """Milliseconds from when each was due, whether or not those before it were answered."""
    took: list[float] = []

    async def ask(due: float, request: Message) -> None:
        await call(request)
        took.append((time.perf_counter() - due) * 1000)

    began = time.perf_counter()
    asked = []
    for number, request in enumerate(requests):
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(ask(due, request)))
    await asyncio.gather(*asked)
    return took
