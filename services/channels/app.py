"""The channels service, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested

from services.channels import messages, template_service
from services.channels.config import ChannelsConfig
from services.channels.gate import Gate
from services.channels.library import Library
from services.channels.measures import UNKNOWN
from services.channels.personal_data import ChannelsPersonalData
from services.channels.providers.base import Provider
from services.channels.providers.configured import providers
from services.channels.sender import Rules, Sender
from services.channels.store import SCHEMAS, Store
from services.channels.templates import Compiler
from services.chassis import ops, personal_data
from services.chassis.app import App, Footing, stand_on
from services.chassis.broker import ConsumerSpec, StreamSpec
from services.chassis.clock import SECOND, Clock
from services.chassis.consumer import BatchConsumer
from services.chassis.due import Due
from services.chassis.telemetry import Telemetry


def sends(config: ChannelsConfig) -> ConsumerSpec:
    """One durable for all replicas: any of them may send any message, and no order holds between messages."""
    return ConsumerSpec("channels-sends", "CAMINO_ORCHESTRATOR", SendRequested, ack_wait_s=config.ack_wait_seconds)


def footing(config: ChannelsConfig) -> Footing:
    settled = StreamSpec("CAMINO_CHANNELS", (MessageSettled,), "log", max_age_s=2 * 24 * 3600)
    return Footing("channels", SCHEMAS, streams=(settled,), consumers=(sends(config),))


@asynccontextmanager
async def build(
    config: ChannelsConfig,
    clock: Clock,
    carriers: Mapping[int, Provider] | None = None,
    *,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[App]:
    """`carriers` are the providers by channel, where they aren't those of the configuration."""
    async with AsyncExitStack() as stack:
        resources = await stack.enter_async_context(stand_on(footing(config), config, clock, telemetry))
        telemetry = resources.telemetry
        carriers = providers(config, clock) if carriers is None else carriers
        for provider in {provider.name: provider for provider in carriers.values()}.values():
            stack.push_async_callback(provider.close)
        store = Store.of(resources.database)
        library = Library(store, Compiler(), clock)
        rules = Rules(int(config.lease_seconds * SECOND), config.partitions, config.crash_at)
        gate = Gate(store, library, carriers)
        sender = Sender(store, resources.publisher, gate, carriers, clock, rules, telemetry)
        people = ChannelsPersonalData(store, gate.suppressions, sender, clock)
        consumer = BatchConsumer(
            resources.broker, sends(config), SendRequested, sender.handle, resources.dead_letters, telemetry=telemetry
        )
        due = Due(
            "messages-due",
            store.messages,
            "due",
            "due_at",
            held=resources.leases.held,
            clock=clock,
            act=sender.take,
            telemetry=telemetry,
        )
        sender.hint = due.hint

        async def unknown() -> Mapping[tuple[str, ...], float]:
            return {(): await store.messages.count("unknown")}

        telemetry.metrics.read(UNKNOWN, unknown)

        def forget(workspace_id: str) -> None:
            library.forget(workspace_id)
            gate.suppressions.forget(workspace_id)

        yield App(
            mounted=[
                messages.mounted(messages.MessageServicer(store, gate.suppressions, sender, clock)),
                personal_data.mounted(people, resources.dead_letters),
                template_service.mounted(template_service.TemplateServicer(store, library, clock)),
                *ops.mounted(resources, forget=forget),
            ],
            loops=[consumer, due, resources.leases],
            probes=resources.probes(),
        )
