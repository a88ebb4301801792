"""`make bench`: Camino's figures on this machine, as medians of several runs, beside the floor of their parts.

All is on one machine: the load, the broker and the four services on the embedded store, with the `log` provider.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench import floors
from bench.fixture import BATCH, Measured, measured

RUNS = 5
EVENTS = 10_000
SENDS = 3_000
RECIPIENTS = 10_000
SINGLES = 4_000
CALLERS = 64
STEADY_RATE = 50
STEADY_S = 10

# What one item needs of the broker and the store, counted from the code: documents written, and messages carried.
# A triggered send: event (2: taken, published), facts (1), run (3: begun, settled, and its decision), message (3).
WRITES_PER_SEND = 9
# ProfileChanged to two services, SendRequested, MessageSettled.
MESSAGES_PER_SEND = 4
# A recipient: decision, message reserved, committed and recorded.
WRITES_PER_RECIPIENT = 4
MESSAGES_PER_RECIPIENT = 2


@dataclass
class Figures:
    ingested: list[float] = field(default_factory=list)
    singles: list[float] = field(default_factory=list)
    triggered: list[float] = field(default_factory=list)
    triggered_cpu: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    steady_cpu: list[float] = field(default_factory=list)
    recipients: list[float] = field(default_factory=list)
    recipient_cpu: list[float] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)
    bare_grpc: list[float] = field(default_factory=list)
    bare_message: list[float] = field(default_factory=list)
    bare_write: list[float] = field(default_factory=list)
    bare_write_wall: list[float] = field(default_factory=list)


async def ingest(stack: Measured, workspace: str, figures: Figures) -> None:
    began = time.perf_counter()
    await stack.events(workspace, "p", range(EVENTS), "purchase")
    figures.ingested.append(EVENTS / (time.perf_counter() - began))
    await stack.members(workspace, EVENTS)


async def singles(stack: Measured, workspace: str, figures: Figures) -> None:
    """Events one by one, each in a request of its own, from many callers at once."""
    callers = asyncio.Semaphore(CALLERS)

    async def one(person: int) -> None:
        async with callers:
            await stack.events(workspace, "v", [person], "view")

    began = time.perf_counter()
    await asyncio.gather(*(one(person) for person in range(SINGLES)))
    figures.singles.append(SINGLES / (time.perf_counter() - began))


async def triggered(stack: Measured, workspace: str, figures: Figures) -> None:
    stack.accepted()
    began, cpu = time.perf_counter(), stack.cpu_s()
    await stack.events(workspace, "s", range(SENDS), "signup")
    await stack.wait_accepted(SENDS)
    figures.triggered.append(SENDS / (time.perf_counter() - began))
    await asyncio.sleep(0.5)  # what follows an accept (its record, its report) belongs to it
    figures.triggered_cpu.append((stack.cpu_s() - cpu) / SENDS * 1000)


async def steady(stack: Measured, workspace: str, figures: Figures) -> None:
    stack.accepted()
    sent_at: dict[str, float] = {}
    latencies: list[float] = []
    count = STEADY_RATE * STEADY_S
    first = SENDS

    async def watch() -> None:
        while len(latencies) < count:
            now = time.perf_counter()
            latencies.extend(now - sent_at[to] for to in stack.accepted())
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    tasks = []
    began, cpu = time.perf_counter(), stack.cpu_s()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / STEADY_RATE - time.perf_counter()))
        person = first + number
        sent_at[f"{workspace}-{person}@example.com"] = time.perf_counter()
        tasks.append(asyncio.create_task(stack.events(workspace, "l", [person], "signup")))
    await asyncio.gather(*tasks)
    await asyncio.wait_for(watching, 60)
    figures.steady_cpu.append((stack.cpu_s() - cpu) / count * 1000)
    quantiles = statistics.quantiles(latencies, n=100)
    figures.p50.append(statistics.median(latencies) * 1000)
    figures.p99.append(quantiles[98] * 1000)


async def campaign(stack: Measured, workspace: str, figures: Figures) -> None:
    stack.accepted()
    began, cpu = time.perf_counter(), stack.cpu_s()
    await stack.campaign(workspace)
    await stack.wait_accepted(RECIPIENTS)
    figures.recipients.append(RECIPIENTS / (time.perf_counter() - began))
    await asyncio.sleep(0.5)
    figures.recipient_cpu.append((stack.cpu_s() - cpu) / RECIPIENTS * 1000)


async def run(figures: Figures) -> None:
    """One run on a fresh stack: everything once, and the floors beside it."""
    async with measured() as stack:
        figures.started.append(stack.started_in)
        await stack.people("bench", EVENTS)
        await stack.publish("bench")
        await ingest(stack, "bench", figures)
        await singles(stack, "bench", figures)
        await triggered(stack, "bench", figures)
        await steady(stack, "bench", figures)
        await campaign(stack, "bench", figures)
        for name, used in stack.memory_mb().items():
            figures.memory.setdefault(name, []).append(used)
        figures.bare_grpc.append(await floors.grpc_batches(EVENTS, BATCH))
        figures.bare_message.append(await floors.jetstream(stack.stack.broker, stack.processes["nats"], 5_000))
        cpu, wall = await floors.store(10_000)
        figures.bare_write.append(cpu)
        figures.bare_write_wall.append(wall)


def show(figures: Figures, console: Console) -> None:
    def median(values: list[float]) -> float:
        return statistics.median(values)

    def spread(values: list[float], digits: int = 0) -> str:
        return f"{median(values):,.{digits}f}  ({min(values):,.{digits}f} - {max(values):,.{digits}f})"

    def floor_ms(messages: int, writes: int) -> str:
        cost = messages * median(figures.bare_message) + writes * median(figures.bare_write)
        return f"{cost * 1000:.2f} ms: {messages} messages and {writes} writes, bare"

    bare_ingest = 1 / (median(figures.bare_grpc) + 2 * median(figures.bare_write_wall))
    table = Table("figure", f"median of {len(figures.started)} (min - max)", "target", "floor of its parts, same run")
    rows = [
        (
            "events ingested/s, durable, batches of 100",
            spread(figures.ingested),
            ">= 5,000",
            f"{bare_ingest:,.0f}/s: bare gRPC and 2 writes",
        ),
        (f"single events ingested/s, durable, {CALLERS} callers", spread(figures.singles), ">= 1,500", ""),
        ("triggered sends/s, event to accept", spread(figures.triggered), ">= 400", ""),
        (
            "CPU ms per triggered send, all processes",
            spread(figures.triggered_cpu, 2),
            "<= 2.5",
            floor_ms(MESSAGES_PER_SEND, WRITES_PER_SEND),
        ),
        (f"latency p50 ms at {STEADY_RATE} events/s", spread(figures.p50, 1), "", ""),
        (f"latency p99 ms at {STEADY_RATE} events/s", spread(figures.p99, 1), "< 100", ""),
        (f"CPU ms per triggered send at {STEADY_RATE} events/s", spread(figures.steady_cpu, 2), "", ""),
        ("campaign recipients/s to the provider", spread(figures.recipients), ">= 2,000", ""),
        (
            "CPU ms per recipient, all processes",
            spread(figures.recipient_cpu, 2),
            "<= 0.6",
            floor_ms(MESSAGES_PER_RECIPIENT, WRITES_PER_RECIPIENT),
        ),
        ("start-up s, until all are serving", spread(figures.started, 1), "<= 5", ""),
        *(
            (f"memory MB, {name}, at the end", spread(used), "<= 150" if name != "nats" else "", "")
            for name, used in figures.memory.items()
        ),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(
        f"bare parts: gRPC {median(figures.bare_grpc) * 1e6:.1f} µs an item in batches of {BATCH}; "
        f"JetStream {median(figures.bare_message) * 1e6:.0f} µs of CPU a message, published, delivered, acknowledged; "
        f"store {median(figures.bare_write) * 1e6:.1f} µs of CPU a document written"
    )


def main() -> None:
    console = Console()
    figures = Figures()
    runs = int(os.environ.get("RUNS", RUNS))
    for number in range(runs):
        with console.status(f"run {number + 1} of {runs}"):
            asyncio.run(run(figures))
    show(figures, console)


if __name__ == "__main__":
    main()
