"""The segment service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from camino.profile.v1 import profile_events_pb2
from camino.segment.v1 import segment_events_pb2

from services.chassis import ops
from services.chassis.app import App, Footing, stand_on
from services.chassis.broker import ConsumerSpec, StreamSpec
from services.chassis.clock import Clock
from services.chassis.config import ServiceConfig
from services.chassis.consumer import BatchConsumer
from services.chassis.documents import Document
from services.chassis.due import Due
from services.chassis.pump import Pump
from services.segment import service
from services.segment.recompute import Recompute
from services.segment.registry import EVERY, Registry
from services.segment.relay import Relay
from services.segment.store import SCHEMAS, SWEEP_AFTER, Store
from services.segment.streaming import Streaming


class SegmentConfig(ServiceConfig):
    """The segment service needs no settings of its own."""


def _changes(config: SegmentConfig) -> ConsumerSpec:
    return ConsumerSpec("segment-changes", "CAMINO_PROFILE", profile_events_pb2.ProfileChanged, config.partitions)


def footing(config: SegmentConfig) -> Footing:
    transitions = StreamSpec("CAMINO_SEGMENT", (segment_events_pb2.MembershipChanged,), "log", max_age_s=7 * 24 * 3600)
    return Footing("segment", SCHEMAS, streams=(transitions,), consumers=(_changes(config),))


@asynccontextmanager
async def build(config: SegmentConfig, clock: Clock) -> AsyncIterator[App]:
    async with stand_on(footing(config), config, clock) as resources:
        store = Store.of(resources.database)
        registry = Registry(store, clock)
        await registry.refresh()
        relay = Relay(store, resources.publisher)
        transitions: Pump[Document] = Pump("transitions", relay.deliver)
        held = resources.leases.held

        # What wakes profiles is told of new instants by what writes them, and the other way round: so the hints come
        # first.
        hints: dict[str, Due] = {}
        streaming = Streaming(
            store,
            registry,
            clock,
            config.partitions,
            relay=transitions.offer,
            hint=lambda partition, at: hints["time"].hint(partition, at),
        )
        recompute = Recompute(
            store,
            registry,
            streaming,
            clock,
            hint=lambda partition, at: hints["recompute"].hint(partition, at),
        )
        hints["time"] = Due("time", store.facts, "wake", "wake_at", held=held, clock=clock, act=streaming.woken)
        hints["recompute"] = Due(
            "recompute", store.segments, "compute", "compute_at", held=held, clock=clock, act=recompute.woken, limit=4
        )
        sweep = Due(
            "transition-sweep",
            store.facts,
            "relay",
            "relay_at",
            held=held,
            clock=clock,
            act=relay.deliver,
            eager=SWEEP_AFTER,
        )
        servicer = service.SegmentServicer(
            store,
            registry,
            clock,
            config.partitions,
            # An embedded store has one replica, which knows at once.
            start_after=2 * EVERY if config.mongodb_uri else 0,
            hint=hints["recompute"].hint,
        )
        yield App(
            mounted=[service.mounted(servicer), ops.mounted(resources.dead_letters)],
            loops=[
                BatchConsumer(
                    resources.broker,
                    _changes(config),
                    profile_events_pb2.ProfileChanged,
                    streaming.changed,
                    resources.dead_letters,
                    held=held,
                ),
                *hints.values(),
                transitions,
                sweep,
                registry,
                resources.leases,
            ],
            probes=resources.probes(),
        )
