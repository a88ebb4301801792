"""The orchestrator, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
from camino.channels.v1 import channels_events_pb2
from camino.orchestrator.v1 import orchestrator_events_pb2
from camino.profile.v1 import profile_events_pb2
from pydantic import Field

from services.chassis import ops, personal_data
from services.chassis.app import App, Footing, stand_on
from services.chassis.broker import ConsumerSpec, StreamSpec
from services.chassis.clients import open_channel
from services.chassis.clock import Clock
from services.chassis.config import ServiceConfig
from services.chassis.consumer import BatchConsumer
from services.chassis.documents import Collection, Document
from services.chassis.due import Due
from services.chassis.pump import Pump
from services.chassis.telemetry import Telemetry
from services.chassis.tls import calling
from services.orchestrator import campaign_service, decision_service, journey_service
from services.orchestrator.campaigns.launch import Launcher
from services.orchestrator.campaigns.sending import Sending
from services.orchestrator.clients import Profiles, Segments, Templates
from services.orchestrator.erasing import Erasing
from services.orchestrator.obligations import Obligations, Owed
from services.orchestrator.personal_data import OrchestratorPersonalData
from services.orchestrator.publishing import Checks
from services.orchestrator.registry import Registry
from services.orchestrator.runner import Runner
from services.orchestrator.settling import Settling
from services.orchestrator.store import LAST_RESEND, SCHEMAS, Store

_DAY_S = 24 * 3600
_SHARDS_AT_ONCE = 4
_SENDS = StreamSpec("CAMINO_ORCHESTRATOR", (orchestrator_events_pb2.SendRequested,), "work", max_age_s=30 * _DAY_S)


class OrchestratorConfig(ServiceConfig):
    """Where the services are that the orchestrator asks."""

    profile_target: str = Field(default="127.0.0.1:50051", min_length=1)
    """The profile service, as gRPC names it: `host:port` or `dns:///name:port`."""
    segment_target: str = Field(default="127.0.0.1:50052", min_length=1)
    """The segment service, likewise."""
    channels_target: str = Field(default="127.0.0.1:50054", min_length=1)
    """The channels service, likewise."""


def _consumers(config: OrchestratorConfig) -> tuple[ConsumerSpec, ConsumerSpec]:
    return (
        ConsumerSpec("orchestrator-changes", "CAMINO_PROFILE", profile_events_pb2.ProfileChanged, config.partitions),
        ConsumerSpec("orchestrator-settled", "CAMINO_CHANNELS", channels_events_pb2.MessageSettled, config.partitions),
    )


def footing(config: OrchestratorConfig) -> Footing:
    return Footing("orchestrator", SCHEMAS, streams=(_SENDS,), consumers=_consumers(config))


@asynccontextmanager
async def build(config: OrchestratorConfig, clock: Clock, *, telemetry: Telemetry | None = None) -> AsyncIterator[App]:
    async with AsyncExitStack() as stack:
        resources = await stack.enter_async_context(stand_on(footing(config), config, clock, telemetry))
        telemetry = resources.telemetry

        async def channel(target: str) -> grpc.aio.Channel:
            return await stack.enter_async_context(
                open_channel(target, token_file=config.token_file, tls=calling(config))
            )

        profiles = Profiles(await channel(config.profile_target))
        segments = Segments(await channel(config.segment_target))
        templates = Templates(await channel(config.channels_target))

        store = Store.of(resources.database)
        registry = Registry(store, clock)
        await registry.refresh()
        erasing = Erasing(store, clock, lambda workspace_id, key: resources.broker.purge(_SENDS, workspace_id, key=key))
        obligations = Obligations(resources.publisher, clock, config.partitions)
        requests: Pump[Owed] = Pump("requests", obligations.publish, metrics=telemetry.metrics)

        def when(
            name: str,
            collection: Collection,
            field: str,
            act: Callable[[list[Document]], Awaitable[None]],
            *,
            limit: int = 500,
            eager: int = 0,
        ) -> Due:
            index = "wake" if field == "wake_at" else "owed"
            return Due(
                name,
                collection,
                index,
                field,
                held=resources.leases.held,
                clock=clock,
                act=act,
                limit=limit,
                eager=eager,
                telemetry=telemetry,
            )

        # What wakes documents is told of new instants by what writes them, and the other way round: so the hints come
        # first.
        hints: dict[str, Due] = {}
        runner = Runner(
            store,
            registry,
            profiles,
            segments,
            erasing,
            clock,
            config.partitions,
            owed=requests.offer,
            hint=lambda partition, at: hints["runs"].hint(partition, at),
            metrics=telemetry.metrics,
        )
        sending = Sending(
            store,
            profiles,
            erasing,
            clock,
            owed=requests.offer,
            hint=lambda partition, at: hints["shards"].hint(partition, at),
            telemetry=telemetry,
        )
        launcher = Launcher(
            store,
            segments,
            clock,
            config.partitions,
            hint=lambda partition, at: hints["campaigns"].hint(partition, at),
            hint_shard=lambda partition, at: hints["shards"].hint(partition, at),
        )
        hints["runs"] = when("runs", store.runs, "wake_at", runner.woken)
        hints["shards"] = when("shards", store.shards, "wake_at", sending.woken, limit=_SHARDS_AT_ONCE)
        hints["campaigns"] = when("campaigns", store.campaigns, "wake_at", launcher.woken)

        async def repeat_runs(due: list[Document]) -> None:
            await obligations.repeat(store.runs, await erasing.owing_runs(due))

        async def repeat_shards(due: list[Document]) -> None:
            await obligations.repeat(store.shards, await erasing.owing_shards(due))

        changes, settled = _consumers(config)
        checks = Checks(templates, segments)
        yield App(
            mounted=[
                journey_service.mounted(journey_service.JourneyServicer(store, registry, checks, clock)),
                campaign_service.mounted(
                    campaign_service.CampaignServicer(store, checks, clock, config.partitions, hints["campaigns"].hint)
                ),
                decision_service.mounted(decision_service.DecisionServicer(store, profiles)),
                personal_data.mounted(OrchestratorPersonalData(store, erasing), resources.dead_letters),
                *ops.mounted(resources, forget=registry.forget),
            ],
            loops=[
                BatchConsumer(
                    resources.broker,
                    changes,
                    profile_events_pb2.ProfileChanged,
                    runner.triggered,
                    resources.dead_letters,
                    held=resources.leases.held,
                    telemetry=telemetry,
                ),
                *hints.values(),
                when("run-resends", store.runs, "resend_at", repeat_runs, eager=LAST_RESEND),
                when(
                    "shard-resends", store.shards, "resend_at", repeat_shards, limit=_SHARDS_AT_ONCE, eager=LAST_RESEND
                ),
                requests,
                BatchConsumer(
                    resources.broker,
                    settled,
                    channels_events_pb2.MessageSettled,
                    Settling(store).settled,
                    resources.dead_letters,
                    held=resources.leases.held,
                    telemetry=telemetry,
                ),
                registry,
                resources.leases,
            ],
            probes=resources.probes(),
        )
