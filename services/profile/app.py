"""The profile service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from camino.profile.v1 import profile_events_pb2
from pydantic import Field

from services.chassis import ops
from services.chassis.app import App, Footing, stand_on
from services.chassis.broker import StreamSpec
from services.chassis.clock import Clock
from services.chassis.config import ServiceConfig
from services.chassis.documents import Collection, Document
from services.chassis.due import Due
from services.chassis.pump import Pump
from services.chassis.telemetry import Telemetry
from services.chassis.tls import calling
from services.profile import rules_service, service
from services.profile.event_intake import EventIntake
from services.profile.joining import PATIENCE, Joining
from services.profile.linking import Linking
from services.profile.operations.part import operations
from services.profile.outbox import Outbox
from services.profile.profile_intake import ProfileIntake
from services.profile.rules import Registry
from services.profile.store import SCHEMAS, SWEEP_AFTER, Store
from services.profile.unlinking import Unlinking


class ProfileConfig(ServiceConfig):
    """Where the services are that hold something on people, too: they're asked to erase it, or to show it."""

    orchestrator_target: str = Field(default="127.0.0.1:50053", min_length=1)
    """The orchestrator, as gRPC names it: `host:port` or `dns:///name:port`."""
    segment_target: str = Field(default="127.0.0.1:50052", min_length=1)
    """The segment service, likewise."""
    channels_target: str = Field(default="127.0.0.1:50054", min_length=1)
    """The channels service, likewise."""


_CHANGES = StreamSpec("CAMINO_PROFILE", (profile_events_pb2.ProfileChanged,), "log", max_age_s=7 * 24 * 3600)


def footing(config: ProfileConfig) -> Footing:
    kinds = (*_CHANGES.message_types, profile_events_pb2.ProfileErased)
    return Footing("profile", SCHEMAS, streams=(replace(_CHANGES, message_types=kinds),))


@asynccontextmanager
async def build(config: ProfileConfig, clock: Clock, *, telemetry: Telemetry | None = None) -> AsyncIterator[App]:
    async with AsyncExitStack() as stack:
        resources = await stack.enter_async_context(stand_on(footing(config), config, clock, telemetry))
        telemetry = resources.telemetry
        store = Store.of(resources.database)
        registry = Registry(store, clock)
        # Nothing is taken in before it's known how people are told apart.
        await registry.loaded()
        outbox = Outbox(store, resources.publisher)
        pump: Pump[Document] = Pump("outbox", outbox.deliver, metrics=telemetry.metrics)

        joining = Joining(store, clock, config.partitions, pump.offer)
        linking = Linking(store, joining, clock, registry.rules, config.partitions)
        unlinking = Unlinking(store, joining, clock, registry.rules, config.partitions)
        profile_intake = ProfileIntake(store, clock, registry.rules, joining, linking, config.partitions, pump.offer)
        event_intake = EventIntake(store, clock, registry.rules, joining, linking, config.partitions, pump.offer)

        def when(
            name: str,
            collection: Collection,
            field: str,
            act: Callable[[list[Document]], Awaitable[None]],
            *,
            eager: int,
        ) -> Due:
            index = "outbox" if field == "publish_at" else "due"
            return Due(
                name,
                collection,
                index,
                field,
                held=resources.leases.held,
                clock=clock,
                act=act,
                eager=eager,
                telemetry=telemetry,
            )

        servicer = service.ProfileServicer(
            store, registry, profile_intake, event_intake, unlinking, clock, telemetry.tracing
        )
        operation_service, operations_due = await stack.enter_async_context(
            operations(
                resources,
                store,
                joining,
                servicer,
                registry.rules,
                clock,
                config.partitions,
                changes=_CHANGES,
                targets={
                    "orchestrator": config.orchestrator_target,
                    "segment": config.segment_target,
                    "channels": config.channels_target,
                },
                token_file=config.token_file,
                tls=calling(config),
            )
        )
        yield App(
            mounted=[
                service.mounted(servicer),
                operation_service,
                rules_service.mounted(rules_service.ProfileRulesServicer(store, registry, clock)),
                *ops.mounted(resources, forget=registry.forget),
            ],
            loops=[
                pump,
                registry,
                when("event-sweep", store.events, "publish_at", outbox.deliver, eager=SWEEP_AFTER),
                when("profile-sweep", store.profiles, "publish_at", outbox.deliver, eager=SWEEP_AFTER),
                operations_due,
                when("join-sweep", store.joins, "due_at", joining.due, eager=PATIENCE),
                when("lock-sweep", store.profiles, "due_at", joining.settle, eager=0),
                resources.leases,
            ],
            probes=resources.probes(),
        )
