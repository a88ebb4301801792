"""The segment service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1.segment_events_pb2 import EvaluationRequested, MembershipChanged

from services.chassis import ops, personal_data
from services.chassis.app import App, Footing, stand_on
from services.chassis.broker import ConsumerSpec, StreamSpec
from services.chassis.clock import Clock
from services.chassis.consumer import BatchConsumer
from services.chassis.documents import Document
from services.chassis.due import Due
from services.chassis.pump import Pump
from services.chassis.tail import Tail
from services.chassis.telemetry import Telemetry
from services.segment import finding, service
from services.segment.config import SegmentConfig
from services.segment.erasing import Erasing
from services.segment.estimating import Estimating
from services.segment.intake import Intake
from services.segment.measures import ERASED_FACTS, EVALUATION_ERRORS, FAILING_PROFILES
from services.segment.merging import Merging
from services.segment.outbox import Outbox
from services.segment.personal_data import SegmentData
from services.segment.profiles import Profiles
from services.segment.publishing import Publishing
from services.segment.registry import Registry
from services.segment.rollout import Rollout
from services.segment.shards import Shards
from services.segment.store import SCHEMAS, SWEEP_AFTER, Store
from services.segment.timers import Timers
from services.segment.watching import Watching
from services.segment.webhooks import app as webhooks

MEMBERSHIPS = StreamSpec("CAMINO_SEGMENT", (MembershipChanged,), "log", max_age_s=7 * 24 * 3600, tailed=True)
EVALUATIONS = StreamSpec("CAMINO_SEGMENT_WORK", (EvaluationRequested,), "work", max_age_s=24 * 3600)


def changes(config: SegmentConfig) -> ConsumerSpec:
    """One durable for each partition, because order matters per profile."""
    return ConsumerSpec("segment-changes", "CAMINO_PROFILE", ProfileChanged, partitions=config.partitions)


def evaluation(config: SegmentConfig) -> ConsumerSpec:
    """By partition, so that who evaluates a profile anew is who evaluates it when something happens to it."""
    return ConsumerSpec("segment-evaluation", EVALUATIONS.name, EvaluationRequested, partitions=config.partitions)


def footing(config: SegmentConfig) -> Footing:
    return Footing(
        "segment", SCHEMAS, streams=(MEMBERSHIPS, EVALUATIONS), consumers=(changes(config), evaluation(config))
    )


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
        publisher = resources.publisher
        rollout = Rollout(store, registry, outbox, publisher, clock, config.partitions, held, telemetry)
        evaluations = BatchConsumer(
            resources.broker,
            evaluation(config),
            EvaluationRequested,
            Shards(store, registry, profiles, outbox, publisher, clock, rollout.hint).handle,
            resources.dead_letters,
            held=held,
            max_batch=config.partitions,
            telemetry=telemetry,
        )
        consumer = BatchConsumer(
            resources.broker,
            changes(config),
            ProfileChanged,
            Intake(merging).handle,
            resources.dead_letters,
            held=held,
            telemetry=telemetry,
        )
        estimating = Estimating(store, clock, config.partitions, errors)
        tail = Tail(resources.broker, MEMBERSHIPS, MembershipChanged, clock)
        watching = Watching(store, registry, tail, clock, telemetry.metrics)
        publishing = Publishing(store, registry, clock, config.partitions, rollout.hint)
        servicer = service.SegmentServicer(
            store, registry, clock, config.partitions, errors, publishing, estimating, watching.watch
        )
        async with webhooks.build(config, clock, telemetry.metrics, store, registry, tail, held) as (served, couriers):
            yield App(
                mounted=[
                    service.mounted(servicer),
                    served,
                    personal_data.mounted(SegmentData(store, erasing), resources.dead_letters),
                    *ops.mounted(resources, forget=registry.forget),
                ],
                loops=[consumer, timers, rollout, evaluations, registry, pump, sweep, couriers, resources.leases],
                probes=resources.probes(),
            )
