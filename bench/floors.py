"""The floor of the parts: what bare gRPC, bare JetStream and the bare store take for the same number of operations.

Each function returns CPU seconds and wall seconds per item of doing, alone and in one process beside its server, what
one item needs of that part. How many operations an item needs is said where it's used.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import grpc
import nats
import psutil
from nats.js.api import StreamConfig

from services.chassis.documents import Document, Index, Owner, Schema
from services.chassis.sqlite import SqliteDatabase

_PAYLOAD = os.urandom(300)


async def grpc_batches(items: int, batch: int) -> float:
    """Wall seconds per item of unary calls that carry `batch` items of 120 bytes each, four at a time."""

    async def answer(request: bytes, context: Any) -> bytes:
        return b"ok"

    handler = grpc.method_handlers_generic_handler("bare.Bare", {"Call": grpc.unary_unary_rpc_method_handler(answer)})
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    body = os.urandom(120 * batch)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/bare.Bare/Call")
        await call(body)
        gate = asyncio.Semaphore(4)

        async def once() -> None:
            async with gate:
                await call(body)

        began = time.perf_counter()
        await asyncio.gather(*(once() for _ in range(items // batch)))
        took = time.perf_counter() - began
    await server.stop(0)
    return took / items


async def jetstream(url: str, broker: psutil.Process, items: int, batch: int = 500) -> float:
    """CPU seconds per message, client and broker, of publishing with ack, delivering and acknowledging."""
    client = await nats.connect(url)
    stream = client.jetstream(publish_async_max_pending=10_000)
    name = f"BARE_{uuid.uuid4().hex}"
    await stream.add_stream(StreamConfig(name=name, subjects=[f"{name}.>"]))
    began = time.process_time() + sum(broker.cpu_times()[:2])
    for start in range(0, items, batch):
        acks = [
            await stream.publish_async(f"{name}.a", _PAYLOAD, headers={"Nats-Msg-Id": f"{start}-{number}"})
            for number in range(batch)
        ]
        await asyncio.gather(*acks)
    pull = await stream.pull_subscribe(f"{name}.>", durable="bare")
    taken = 0
    while taken < items:
        for message in await pull.fetch(min(batch, items - taken)):
            await message.ack()
            taken += 1
    await client.flush()
    took = time.process_time() + sum(broker.cpu_times()[:2]) - began
    await stream.delete_stream(name)
    await client.close()
    return took / items


async def store(items: int, batch: int = 500) -> tuple[float, float]:
    """CPU seconds per document written new in the embedded store (half a kilobyte, one index), and wall seconds."""
    with tempfile.TemporaryDirectory() as directory:
        schema = Schema("bare", (Index("due", ("partition", "due_at")),), owner=Owner.SERVICE)
        database = await SqliteDatabase.open(Path(directory) / "bare.db")
        await database.migrate([schema])
        collection = database.collection(schema)
        cpu, wall = time.process_time(), time.perf_counter()
        for start in range(0, items, batch):
            await collection.put(
                [
                    Document(f"w/{uuid.uuid4()}", {"partition": number % 8, "due_at": start, "request": _PAYLOAD})
                    for number in range(batch)
                ]
            )
        took = time.process_time() - cpu, time.perf_counter() - wall
        await database.close()
    return took[0] / items, took[1] / items
