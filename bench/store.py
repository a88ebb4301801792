"""What the embedded engine costs, in µs a document, as a caller sees it: `python -m bench.store`.

The documents are small (some 260 bytes of BSON) and have one index of two fields; ids are random, which is the hard
case: each lies on another page. Medians over many batches.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from services.chassis.documents import Collection, Document, Index, Owner, Schema
from services.chassis.sqlite import SqliteDatabase

RUNS = Schema("runs", (Index("by_wake", ("workspace", "wake_at")),), owner=Owner.WORKSPACE)
DOCUMENTS = 20_000
BATCHES = 100


def new(wake_at: int) -> Document:
    steps = [{"id": f"step-{n}", "at": 1_700_000_000_000} for n in range(3)]
    attributes = {"email": "someone@example.com", "visits": 3, "tags": ["a", "b"]}
    body: dict[str, Any] = {"workspace": "w", "status": "active", "attributes": attributes, "steps": steps}
    return Document(str(uuid.uuid4()), {**body, "wake_at": wake_at})


async def timed(batches: int, size: int, work: Callable[[], Awaitable[Any]]) -> float:
    """The median µs a document of a batch that is done so many times."""
    costs = []
    for _ in range(batches):
        start = time.perf_counter()
        await work()
        costs.append((time.perf_counter() - start) / size * 1e6)
    return statistics.median(costs)


async def puts(collection: Collection, size: int, batches: int) -> float:
    prepared = iter([[new(batch) for _ in range(size)] for batch in range(batches)])
    return await timed(batches, size, lambda: collection.put(next(prepared)))


async def concurrent_puts(collection: Collection, callers: int, batches: int) -> float:
    """Many callers with a document each: what group commit is for."""
    prepared = iter([[[new(batch)] for _ in range(callers)] for batch in range(batches)])
    return await timed(batches, callers, lambda: asyncio.gather(*map(collection.put, next(prepared))))


async def replaces(collection: Collection, ids: list[str], size: int) -> float:
    current = await collection.get(ids)
    prepared = iter([[current[id_] for id_ in random.sample(ids, size)] for _ in range(BATCHES)])
    return await timed(BATCHES, size, lambda: collection.put(next(prepared)))


async def gets(collection: Collection, ids: list[str], size: int) -> float:
    return await timed(BATCHES, size, lambda: collection.get(random.sample(ids, size)))


async def queries(collection: Collection, size: int) -> float:
    return await timed(
        BATCHES, size, lambda: collection.query("by_wake", "w", at_least=random.randrange(50), below=1000, limit=size)
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = await SqliteDatabase.open(Path(directory) / "bench.db")
        await database.migrate([RUNS])
        collection = database.collection(RUNS)
        results = {
            f"put, batches of {size}": await puts(collection, size, DOCUMENTS // 2 // size) for size in (100, 500)
        }
        results["put, batches of 1"] = await puts(collection, 1, 300)
        results["put, 100 callers with one each"] = await concurrent_puts(collection, 100, 50)
        ids = [document.id for document in (await collection.scan(limit=DOCUMENTS * 2)).documents]
        results["replace, batches of 100"] = await replaces(collection, ids, 100)
        results["get, batches of 100"] = await gets(collection, ids, 100)
        results["query, pages of 100"] = await queries(collection, 100)
        await database.close()
    for name, cost in results.items():
        print(f"{name:32} {cost:8.1f} µs a document")


if __name__ == "__main__":
    asyncio.run(main())
