"""The segment service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1.segment_events_pb2 import MembershipChanged

from services.chassis import ops, personal_data
from services.chassis.app import App, Footing, stand_on
from services.chassis.broker import ConsumerSpec, StreamSpec
from services.chassis.clock import Clock
from services.chassis.config import ServiceConfig
from services.chassis.consumer import BatchConsumer
from services.chassis.documents import Document
from services.chassis.due import Due
from services.chassis.pump import Pump
from services.chassis.telemetry import Telemetry
from services.segment import finding, service
from services.segment.erasing import Erasing
from services.segment.intake import Intake
from services.segment.measures import ERASED_FACTS, EVALUATION_ERRORS, FAILING_PROFILES
from services.segment.merging import Merging
from services.segment.outbox import Outbox
from services.segment.personal_data import SegmentData
from services.segment.profiles import Profiles
from services.segment.recompute import Recompute
from services.segment.registry import Registry
from services.segment.store import SCHEMAS, SWEEP_AFTER, Store
from services.segment.timers import Timers

MEMBERSHIPS = StreamSpec("CAMINO_SEGMENT", (MembershipChanged,), "log", max_age_s=7 * 24 * 3600)


class SegmentConfig(ServiceConfig):
    """The segment service needs no settings of its own."""


def changes(config: SegmentConfig) -> ConsumerSpec:
    """One durable for each partition, because order matters per profile."""
    return ConsumerSpec("segment-changes", "CAMINO_PROFILE", ProfileChanged, partitions=config.partitions)


def footing(config: SegmentConfig) -> Footing:
    return Footing("segment", SCHEMAS, streams=(MEMBERSHIPS,), consumers=(changes(config),))


@asynccontextmanager
async def build(config: SegmentConfig, clock: Clock, *, telemetry: Telemetry | None = None) -> AsyncIterator[App]:
    async with stand_on(footing(config), config, clock, telemetry) as resources:
        telemetry = resources.telemetry
        store = Store.of(resources.database)
        held = resources.leases.held
        registry = Registry(store, clock)
        errors = telemetry.metrics.counter(EVALUATION_ERRORS)
        telemetry.metrics.read(FAILING_PROFILES, partial(finding.failing, store.facts))
        profiles = Profiles(store, registry, clock, config.partitions, errors)
        outbox = Outbox(store, resources.publisher)
        pump: Pump[Document] = Pump("transitions", outbox.deliver, metrics=telemetry.metrics)
        sweep = Due(
            "transition-sweep",
            store.facts,
            "outbox",
            "outbox_at",
            held=held,
            clock=clock,
            act=outbox.deliver,
            eager=SWEEP_AFTER,
            telemetry=telemetry,
        )
        merging = Merging(store, profiles, pump.offer, telemetry.metrics.counter(ERASED_FACTS))
        purge = partial(resources.broker.purge, MEMBERSHIPS)
        erasing = Erasing(store, profiles, resources.publisher, purge, clock)
        timers = Due(
            "membership-timers",
            store.facts,
            "wake",
            "wake_at",
            held=held,
            clock=clock,
            act=Timers(profiles, merging, erasing, pump.offer).fire,
            telemetry=telemetry,
        )
        profiles.hint = timers.hint
        recompute = Recompute(store, registry, profiles, outbox, clock, config.partitions, held, telemetry)
        consumer = BatchConsumer(
            resources.broker,
            changes(config),
            ProfileChanged,
            Intake(merging).handle,
            resources.dead_letters,
            held=held,
            telemetry=telemetry,
        )
        servicer = service.SegmentServicer(store, registry, clock, config.partitions, recompute.hint, errors)
        yield App(
            mounted=[
                service.mounted(servicer),
                personal_data.mounted(SegmentData(store, erasing), resources.dead_letters),
                *ops.mounted(resources, forget=registry.forget),
            ],
            loops=[consumer, timers, recompute, registry, pump, sweep, resources.leases],
            probes=resources.probes(),
        )
