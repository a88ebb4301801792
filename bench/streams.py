"""`python -m bench.streams`: events over streams beside the same by unary calls, as medians of several runs.

Each run is a fresh stack with all consumers running, in which both ways take turns at going first. CPU is that of the
profile service and that of the caller, for each event: what follows from an event costs the others the same either way.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from camino.client import Client, Ingestion
from camino.client.connection import Connection
from camino.profile.v1 import profile_service_pb2 as pb
from rich.console import Console
from rich.table import Table

from bench.fixture import Measured, measured

RUNS = 5
WORKSPACE = "bench"
PEOPLE = 2_000
SINGLE = 6_000
CALLERS = 64
MANY = 30_000
STEADY_RATE = 200
STEADY_S = 4
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    name: str
    send: Callable[[Client, str], Awaitable[int]]
    """Sends events with ids that begin so; how many."""


@dataclass(frozen=True, slots=True)
class Taken:
    per_second: float
    service_cpu_us: float
    caller_cpu_us: float


def event(prefix: str, number: int) -> pb.EventInput:
    event = pb.EventInput(event_id=f"{prefix}-{number}", type="page_view")
    event.identity.namespace, event.identity.value = "email", f"{WORKSPACE}-{number % PEOPLE}@example.com"
    event.properties["value"].double_value = 12.5
    event.properties["sku"].string_value = "A1"
    return event


async def single_streamed(client: Client, prefix: str) -> int:
    """One event a request, over one stream."""

    async def requests() -> AsyncIterator[pb.StreamEventsRequest]:
        for number in range(SINGLE):
            yield pb.StreamEventsRequest(workspace_id=WORKSPACE, sequence=number, events=[event(prefix, number)])

    answered = 0
    async for reply in client.profiles.StreamEvents(requests()):
        assert reply.sequence == answered
        answered += 1
    return answered


async def single_unary(client: Client, prefix: str) -> int:
    """One event a request, of so many callers at once."""
    numbers = iter(range(SINGLE))

    async def call() -> None:
        for number in numbers:
            request = pb.IngestEventsRequest(workspace_id=WORKSPACE, events=[event(prefix, number)])
            await client.profiles.IngestEvents(request)

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return SINGLE


async def gathered_streamed(client: Client, prefix: str) -> int:
    return await _gathered(client.ingestion(WORKSPACE, streamed=True), prefix)


async def gathered_unary(client: Client, prefix: str) -> int:
    return await _gathered(client.ingestion(WORKSPACE), prefix)


async def _gathered(ingestion: Ingestion, prefix: str) -> int:
    async with ingestion:
        for number in range(MANY):
            await ingestion.event(event(prefix, number))
    return MANY


async def steady_streamed(client: Client, prefix: str) -> int:
    return await _steady(client.ingestion(WORKSPACE, streamed=True), prefix)


async def steady_unary(client: Client, prefix: str) -> int:
    return await _steady(client.ingestion(WORKSPACE), prefix)


async def _steady(ingestion: Ingestion, prefix: str) -> int:
    began = time.perf_counter()
    async with ingestion:
        for number in range(STEADY_RATE * STEADY_S):
            await asyncio.sleep(began + number / STEADY_RATE - time.perf_counter())
            await ingestion.event(event(prefix, number))
    return STEADY_RATE * STEADY_S


WAYS = (
    Way(f"single events, unary, {CALLERS} callers at once", single_unary),
    Way("single events, one stream", single_streamed),
    Way("gathered by the client, unary", gathered_unary),
    Way("gathered by the client, streamed", gathered_streamed),
    Way(f"the same at {STEADY_RATE} a second, unary", steady_unary),
    Way(f"the same at {STEADY_RATE} a second, streamed", steady_streamed),
)


async def taken(stack: Measured, client: Client, way: Way, prefix: str) -> Taken:
    service = stack.processes["profile"]

    def service_cpu() -> float:
        return float(sum(service.cpu_times()[:2]))

    cpu, own, began = service_cpu(), time.process_time(), time.perf_counter()
    events = await way.send(client, prefix)
    seconds = time.perf_counter() - began
    return Taken(events / seconds, (service_cpu() - cpu) / events * 1e6, (time.process_time() - own) / events * 1e6)


async def run(number: int) -> dict[str, Taken]:
    async with measured() as stack:
        await stack.publish(WORKSPACE)
        await stack.people(WORKSPACE, PEOPLE)
        connection = Connection(dict.fromkeys(("profile",), stack.stack.target("profile")), timeout_s=_TIMEOUT_S)
        async with Client(connection) as client:
            ways = WAYS if number % 2 else tuple(reversed(WAYS))
            return {way.name: await taken(stack, client, way, way.send.__name__) for way in ways}


def main() -> None:
    console = Console()
    found = defaultdict[str, list[Taken]](list)
    for number in range(int(os.environ.get("RUNS", RUNS))):
        for name, figures in asyncio.run(run(number)).items():
            found[name].append(figures)
    table = Table("events", "a second", "CPU µs an event: profile service", "caller")
    for way in WAYS:
        figures = found[way.name]
        columns = (
            [figure.per_second for figure in figures],
            [figure.service_cpu_us for figure in figures],
            [figure.caller_cpu_us for figure in figures],
        )
        table.add_row(way.name, *(_spread(values) for values in columns))
    console.print(table)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} - {max(values):,.0f})"


if __name__ == "__main__":
    main()
