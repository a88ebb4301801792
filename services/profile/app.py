"""The profile service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from camino.profile.v1 import profile_events_pb2

from services.chassis import ops
from services.chassis.app import App, Footing, stand_on
from services.chassis.broker import StreamSpec
from services.chassis.clock import Clock
from services.chassis.config import ServiceConfig
from services.chassis.documents import Collection, Document
from services.chassis.due import Due
from services.chassis.pump import Pump
from services.chassis.telemetry import Telemetry
from services.profile import service
from services.profile.ingest import Ingest
from services.profile.outbox import Outbox
from services.profile.store import SCHEMAS, SWEEP_AFTER, Store


class ProfileConfig(ServiceConfig):
    """The profile service needs no settings of its own."""


def footing(config: ProfileConfig) -> Footing:
    changes = StreamSpec("CAMINO_PROFILE", (profile_events_pb2.ProfileChanged,), "log", max_age_s=7 * 24 * 3600)
    return Footing("profile", SCHEMAS, streams=(changes,))


@asynccontextmanager
async def build(config: ProfileConfig, clock: Clock, *, telemetry: Telemetry | None = None) -> AsyncIterator[App]:
    async with stand_on(footing(config), config, clock, telemetry) as resources:
        telemetry = resources.telemetry
        store = Store.of(resources.database)
        outbox = Outbox(store, resources.publisher)
        pump: Pump[Document] = Pump("outbox", outbox.deliver, metrics=telemetry.metrics)

        def sweep(name: str, collection: Collection) -> Due:
            return Due(
                name,
                collection,
                "outbox",
                "publish_at",
                held=resources.leases.held,
                clock=clock,
                act=outbox.deliver,
                eager=SWEEP_AFTER,
                telemetry=telemetry,
            )

        ingest = Ingest(store, clock, config.partitions, pump.offer)
        yield App(
            mounted=[
                service.mounted(service.ProfileServicer(store, ingest, telemetry.tracing)),
                *ops.mounted(resources),
            ],
            loops=[
                pump,
                sweep("event-sweep", store.events),
                sweep("profile-sweep", store.profiles),
                resources.leases,
            ],
            probes=resources.probes(),
        )
