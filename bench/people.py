"""A million people: what an event, a lookup and a merge cost when so many are there already, beside when few are.

`python -m bench.people`; `PEOPLE=100000` for fewer. The people are written into the store before the services start, as
they would be there had they been ingested.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from camino.profile.v1 import profile_service_pb2
from rich.console import Console
from rich.table import Table

from bench.fixture import Measured, measured
from services.chassis.clock import SystemClock
from services.chassis.documents import Collection, Document
from services.chassis.ids import new_id, partition_of
from services.chassis.sqlite import SqliteDatabase
from services.profile import convert
from services.profile.domain.attributes import Attribute
from services.profile.domain.links import star
from services.profile.domain.profile import Profile
from services.profile.domain.rules import Rules
from services.profile.store import SCHEMAS, Store

FEW, MANY = 10_000, int(os.environ.get("PEOPLE", "1000000"))
RUNS = int(os.environ.get("RUNS", "3"))
WORKSPACE = "many"
EVENTS, BATCH, AT_ONCE = 30_000, 100, 4
SINGLES, CALLERS = 6_000, 64
LOOKUPS, RATE = 2_500, 500
MERGES, MERGERS = 1_000, 32
PARTITIONS = 8
_WRITE = 5_000


def people(count: int, now: int) -> Iterator[tuple[Document, list[Document]]]:
    """Profiles as they're stored, each with an email, a customer id and a few attributes; and their identities."""
    rules = Rules.default()
    for number in range(count):
        identities = (("email", f"{number}@example.com"), ("customer_id", str(number)))
        attributes = {
            "first_name": Attribute("Ana", now),
            "city": Attribute("Madrid", now),
            "orders": Attribute(float(number % 7), now),
        }
        profile = Profile(
            new_id(), now, now, 1, frozenset(identities), star(identities, now, rules), attributes=attributes
        )
        body = {
            **convert.profile_body(profile, rules),
            "workspace": WORKSPACE,
            "partition": partition_of(profile.profile_id, PARTITIONS),
        }
        yield (
            Document(f"{WORKSPACE}/{profile.profile_id}", body),
            [
                Document(convert.identity_key(WORKSPACE, identity), {"profile_id": profile.profile_id})
                for identity in identities
            ],
        )


async def build(directory: Path, count: int) -> None:
    database = await SqliteDatabase.open(directory / "profile.db")
    await database.migrate(SCHEMAS)
    store = Store.of(database)
    profiles: list[Document] = []
    identities: list[Document] = []
    for profile, its in people(count, SystemClock().now()):
        profiles.append(profile)
        identities += its
        if len(profiles) == _WRITE:
            await _write(store.profiles, profiles)
            await _write(store.identities, identities)
    await _write(store.profiles, profiles)
    await _write(store.identities, identities)
    await database.close()


async def _write(collection: Collection, documents: list[Document]) -> None:
    if documents:
        await collection.put(documents)
        documents.clear()


@dataclass
class Figures:
    """What was measured over so many people."""

    events: float
    event_cpu: float
    singles: float
    lookup_p50: float
    lookup_p99: float
    merges: float


async def batches(stack: Measured, numbers: Sequence[int]) -> float:
    """Seconds for an event of each, in batches; one in ten comes twice."""
    requests = []
    for start in range(0, len(numbers), BATCH):
        request = profile_service_pb2.IngestEventsRequest(workspace_id=WORKSPACE)
        for place, number in enumerate(numbers[start : start + BATCH]):
            event_id = f"b-{start + place - (place % 10 == 9)}"
            event = request.events.add(event_id=event_id, type="view")
            event.identity.namespace, event.identity.value = "email", f"{number}@example.com"
            event.properties["sku"].string_value = "A1"
        requests.append(request)
    return await _timed([lambda request=request: stack.profiles.IngestEvents(request) for request in requests], AT_ONCE)


async def singles(stack: Measured, numbers: Sequence[int]) -> float:
    def ask(place: int, number: int) -> Callable[[], Awaitable[object]]:
        request = profile_service_pb2.IngestEventsRequest(workspace_id=WORKSPACE)
        event = request.events.add(event_id=f"s-{place}", type="view")
        event.identity.namespace, event.identity.value = "customer_id", str(number)
        return lambda: stack.profiles.IngestEvents(request)

    return await _timed([ask(place, number) for place, number in enumerate(numbers)], CALLERS)


async def lookups(stack: Measured, numbers: Sequence[int]) -> list[float]:
    """Milliseconds of each of so many lookups a second, from when it was due."""
    latencies: list[float] = []

    async def look(due: float, number: int) -> None:
        request = profile_service_pb2.GetProfileRequest(workspace_id=WORKSPACE)
        request.identity.namespace, request.identity.value = "email", f"{number}@example.com"
        await stack.profiles.GetProfile(request)
        latencies.append((time.perf_counter() - due) * 1000)

    began = time.perf_counter()
    tasks = []
    for place, number in enumerate(numbers):
        due = began + place / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(look(due, number)))
    await asyncio.gather(*tasks)
    return latencies


async def merges(stack: Measured, numbers: Sequence[int]) -> float:
    """Seconds to merge so many pairs of people."""

    def ask(one: int, other: int) -> Callable[[], Awaitable[object]]:
        request = profile_service_pb2.IngestProfilesRequest(workspace_id=WORKSPACE)
        item = request.profiles.add()
        item.identities.add(namespace="customer_id", value=str(one))
        item.identities.add(namespace="customer_id", value=str(other))
        return lambda: stack.profiles.IngestProfiles(request)

    return await _timed([ask(*numbers[start : start + 2]) for start in range(0, 2 * MERGES, 2)], MERGERS)


async def _timed(asks: Sequence[Callable[[], Awaitable[object]]], at_once: int) -> float:
    gate = asyncio.Semaphore(at_once)

    async def one(ask: Callable[[], Awaitable[object]]) -> None:
        async with gate:
            await ask()

    began = time.perf_counter()
    await asyncio.gather(*map(one, asks))
    return time.perf_counter() - began


async def run(count: int) -> Figures:
    async with measured(lambda directory: build(directory, count)) as stack:
        chance = Random(count)
        chosen = [chance.randrange(count) for _ in range(EVENTS + SINGLES + LOOKUPS)]
        await batches(stack, chosen[:BATCH])
        looked = await lookups(stack, chosen[:LOOKUPS])
        profile = stack.processes["profile"]
        cpu = sum(profile.cpu_times()[:2])
        seconds = await batches(stack, chosen[:EVENTS])
        cpu = sum(profile.cpu_times()[:2]) - cpu
        alone = await singles(stack, chosen[EVENTS : EVENTS + SINGLES])
        merged = await merges(stack, chance.sample(range(count), 2 * MERGES))
        return Figures(
            EVENTS / seconds,
            cpu / EVENTS * 1e6,
            SINGLES / alone,
            statistics.median(looked),
            statistics.quantiles(looked, n=100)[98],
            MERGES / merged,
        )


def show(few: Sequence[Figures], many: Sequence[Figures]) -> None:
    table = Table("figure", f"over {FEW:,} people", f"over {MANY:,}", "target")
    rows: tuple[tuple[str, Callable[[Figures], float], str, str], ...] = (
        ("events/s, batches of 100, one in ten a repeat", lambda it: it.events, ",.0f", "5,000"),
        ("profile service's CPU an event, us", lambda it: it.event_cpu, ".0f", "flat"),
        ("single events/s, 64 callers", lambda it: it.singles, ",.0f", "1,500"),
        ("lookup by identity at 500/s, ms: p50", lambda it: it.lookup_p50, ".2f", ""),
        ("lookup by identity at 500/s, ms: p99", lambda it: it.lookup_p99, ".2f", "5"),
        ("merges/s, 32 callers", lambda it: it.merges, ",.0f", ""),
    )
    for name, figure, form, target in rows:
        cells = []
        for found in (few, many):
            values = [figure(it) for it in found]
            cells.append(f"{statistics.median(values):{form}} ({min(values):{form}} - {max(values):{form}})")
        table.add_row(name, *cells, target)
    Console(width=120).print(table)


async def main() -> None:
    few, many = [], []
    for _ in range(RUNS):
        few.append(await run(FEW))
        many.append(await run(MANY))
    show(few, many)


if __name__ == "__main__":
    asyncio.run(main())
