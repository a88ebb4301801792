"""Who works on which partition: leases with a fence, kept as documents."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import structlog

from services.chassis.clock import SECOND, Clock, Instant, wait_for_any
from services.chassis.documents import Collection, Document, Owner, Schema, change
from services.chassis.measures import LEASES_HELD
from services.chassis.metrics import Metrics

log = structlog.get_logger()

LEASES = Schema("leases", owner=Owner.SERVICE)


class Leases:
    """Shares `count` partitions out among the replicas that live.

    One replica at a time works on a partition; this keeps order and spares conflicts. It isn't what keeps data safe: a
    replica that wakes up after its lease ended may still write, and compare-and-set on the document decides. The fence
    grows with each change of holder.
    """

    name = "leases"

    def __init__(
        self,
        collection: Collection,
        count: int,
        holder: str,
        clock: Clock,
        metrics: Metrics | None = None,
        *,
        ttl: Instant = 12 * SECOND,
    ) -> None:
        (metrics or Metrics()).read(LEASES_HELD, self._count)
        self._collection = collection
        self._names = [f"partition/{number:03d}" for number in range(count)]
        self._holder = holder
        self._presence = f"replica/{holder}"
        self._clock = clock
        self._ttl = ttl
        self._stopped = asyncio.Event()
        self._held: dict[int, Instant] = {}

    def held(self) -> frozenset[int]:
        """The partitions that are ours at this moment."""
        now = self._clock.now()
        return frozenset(number for number, until in self._held.items() if until > now)

    async def _count(self) -> Mapping[tuple[str, ...], float]:
        return {(): len(self.held())}

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        while not self._stopped.is_set():
            await self.renew()
            await wait_for_any(self._clock, self._clock.now() + self._ttl // 4, self._stopped)
        await self.release()

    async def renew(self) -> None:
        """Renew what is ours, take our fair share of what is free, and give back what is more than that."""
        now = self._clock.now()
        until = now + self._ttl
        await change(self._collection, [self._presence], lambda _id, _old: {"until": until})
        replicas = (await self._collection.scan(prefix="replica/", limit=1000)).documents
        alive = sum(replica.body["until"] > now for replica in replicas)
        share = math.ceil(len(self._names) / max(1, alive))
        stored = await self._collection.get(self._names)

        def is_ours(document: Document | None) -> bool:
            return document is not None and document.body["holder"] == self._holder

        def is_free(document: Document | None) -> bool:
            return document is None or document.body["until"] <= now or is_ours(document)

        ours = [name for name in self._names if is_ours(stored.get(name))]
        free = [name for name in self._names if is_free(stored.get(name)) and name not in ours]
        wanted = set([*ours, *free][:share])

        def decide(name: str, document: Document | None) -> dict[str, Any] | None:
            if not is_free(document):
                return None
            fence = document.body["fence"] if document else 0
            if name in wanted:
                return {"holder": self._holder, "until": until, "fence": fence + (not is_ours(document))}
            return {"holder": "", "until": 0, "fence": fence} if is_ours(document) else None

        after = await change(self._collection, {*wanted, *ours}, decide, known=stored)
        held = {int(name[-3:]): until for name in wanted if is_ours(after.get(name))}
        if held.keys() != self._held.keys():
            log.info("partitions", held=sorted(held), replicas=alive)
        self._held = held

    async def release(self) -> None:
        """Give everything back, so that another replica need not wait for the leases to end."""
        self._held = {}

        def decide(_name: str, document: Document | None) -> dict[str, Any] | None:
            if document is None or document.body["holder"] != self._holder:
                return None
            return {"holder": "", "until": 0, "fence": document.body["fence"]}

        await change(self._collection, self._names, decide)
        await self._collection.delete([self._presence])
