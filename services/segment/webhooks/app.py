"""What tells webhooks, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis.clock import Clock
from services.chassis.loops import Loop
from services.chassis.metrics import Metrics
from services.chassis.server import Mounted
from services.chassis.tail import Tail
from services.segment.config import SegmentConfig
from services.segment.registry import Registry
from services.segment.store import Store
from services.segment.webhooks import service
from services.segment.webhooks.courier import Means
from services.segment.webhooks.couriers import Couriers
from services.segment.webhooks.measuring import Measuring
from services.segment.webhooks.networks import Networks
from services.segment.webhooks.posting import Poster

_AT_ONCE = 128
"""So many messages are being posted at a time, and as many to receivers that didn't take the last one. A receiver that
hangs keeps one of these places for as long as it may take to answer, and then waits longer each time."""


@asynccontextmanager
async def build(
    config: SegmentConfig,
    clock: Clock,
    metrics: Metrics,
    store: Store,
    registry: Registry,
    tail: Tail[MembershipChanged],
    held: Callable[[], Collection[int]],
) -> AsyncIterator[tuple[Mounted, Loop]]:
    """What is served, and the loop that tells. The loop has ended before this is left."""
    networks = Networks(config.webhook_networks.split(","))
    async with Poster.opened(networks, clock, config.webhook_timeout_seconds) as poster:
        measuring = Measuring(metrics, store.webhooks, clock, held)
        slots, slots_of_failing = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_AT_ONCE)
        means = Means(store.webhooks, tail, poster, clock, config.partitions, slots, slots_of_failing, measuring)
        couriers = Couriers(means, held)
        servicer = service.MembershipWebhookServicer(
            store, registry, tail, poster, clock, config.partitions, couriers.hint, config.webhook_http
        )
        yield service.mounted(servicer), couriers
