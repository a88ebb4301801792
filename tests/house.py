"""All four services in one process, on real stores, a real broker and real sockets, with one clock that's moved by
hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from camino.channels.v1 import (
    message_service_pb2_grpc,
    template_service_pb2,
    template_service_pb2_grpc,
)
from camino.client.connection import SERVICES
from camino.orchestrator.v1 import (
    campaign_pb2,
    campaign_service_pb2,
    campaign_service_pb2_grpc,
    decision_pb2,
    decision_service_pb2,
    decision_service_pb2_grpc,
    journey_pb2,
    journey_service_pb2,
    journey_service_pb2_grpc,
)
from camino.profile.v1 import (
    operation_pb2,
    operation_service_pb2,
    operation_service_pb2_grpc,
    profile_rules_service_pb2_grpc,
    profile_service_pb2,
    profile_service_pb2_grpc,
)
from camino.segment.v1 import segment_pb2, segment_service_pb2, segment_service_pb2_grpc
from google.protobuf.json_format import ParseDict

from services.channels import app as channels
from services.channels.config import ChannelsConfig
from services.channels.providers.base import Provider
from services.chassis.app import App
from services.chassis.broker import Broker
from services.chassis.callers import KnowsCallers
from services.chassis.clients import open_channel
from services.chassis.clock import MILLISECOND, SECOND, Instant
from services.chassis.loops import Running
from services.chassis.server import Mounted, Server
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually
from services.orchestrator import app as orchestrator
from services.profile import app as profile
from services.segment import app as segment
from tests.servers import nats_server

WORKSPACE = "shop"
SEND = {"channel": "CHANNEL_EMAIL", "templateId": "hello", "topic": "news", "purpose": "PURPOSE_MARKETING"}
_PATIENCE_S = 20
_DRAIN_S = 5


@dataclass(slots=True)
class House:
    """Stubs of everything, and what tests do again and again."""

    clock: FakeClock
    sent_file: Path
    profiles: profile_service_pb2_grpc.ProfileServiceStub
    segments: segment_service_pb2_grpc.SegmentServiceStub
    journeys: journey_service_pb2_grpc.JourneyServiceStub
    campaigns: campaign_service_pb2_grpc.CampaignServiceStub
    decisions: decision_service_pb2_grpc.DecisionServiceStub
    templates: template_service_pb2_grpc.TemplateServiceStub
    messages: message_service_pb2_grpc.MessageServiceStub
    operations: operation_service_pb2_grpc.OperationServiceStub
    profile_rules: profile_rules_service_pb2_grpc.ProfileRulesServiceStub
    addresses: dict[str, str]
    """Where each service is, by its name."""
    nats_url: str
    _numbers: Any
    workspace: str = WORKSPACE

    def in_workspace(self, workspace_id: str) -> House:
        """The same house, where all that is done is done in another workspace."""
        return replace(self, workspace=workspace_id)

    def sent(self) -> list[str]:
        """To whom the provider has taken a message, in order."""
        if not self.sent_file.exists():
            return []
        return [json.loads(line)["to"] for line in self.sent_file.read_text().splitlines()]

    async def until(self, probe: Any, step: Instant = 5 * MILLISECOND) -> Any:
        """The probe's answer once it isn't None or false, with a little time passing between."""

        async def again() -> Any:
            answer = await probe()
            if not answer:
                self.clock.advance(step)
            return answer

        return await eventually(again, within_s=_PATIENCE_S)

    async def done(self, operation: operation_pb2.Operation) -> operation_pb2.Operation:
        """An erasure or export once it's done."""
        request = operation_service_pb2.GetOperationRequest(
            workspace_id=self.workspace, operation_id=operation.operation_id
        )

        async def probe() -> operation_pb2.Operation | None:
            now = (await self.operations.GetOperation(request)).operation
            return now if now.state == operation_pb2.OPERATION_STATE_DONE else None

        found: operation_pb2.Operation = await self.until(probe, step=SECOND // 4)
        return found

    async def all_sent(self, count: int) -> list[str]:
        async def probe() -> list[str] | None:
            sent = self.sent()
            return sent if len(sent) >= count else None

        found: list[str] = await self.until(probe)
        return found

    async def person(
        self, name: str, *, opted: str = "CONSENT_STATE_OPTED_IN", zone: str = "", **attributes: str
    ) -> str:
        """A person with an address, and a consent to `news`; the profile id."""
        item: dict[str, Any] = {
            "identities": [{"namespace": "email", "value": f"{name}@example.com"}],
            "attributes": {key: {"value": {"stringValue": value}} for key, value in attributes.items()},
            "timeZone": zone,
        }
        if opted:
            item["consents"] = [{"channel": "CHANNEL_EMAIL", "topic": "news", "state": opted}]
        request = ParseDict(
            {"workspaceId": self.workspace, "profiles": [item]}, profile_service_pb2.IngestProfilesRequest()
        )
        [result] = (await self.profiles.IngestProfiles(request)).results
        assert result.outcome == profile_service_pb2.ITEM_OUTCOME_OK, result
        return str(result.profile_id)

    async def event(self, name: str, event_type: str, *, event_id: str = "", at: Instant = 0, **numbers: float) -> str:
        """Something this person did; the event's id."""
        event_id = event_id or f"event-{next(self._numbers)}"
        request = profile_service_pb2.IngestEventsRequest(workspace_id=self.workspace)
        event = request.events.add(event_id=event_id, type=event_type)
        event.identity.namespace, event.identity.value = "email", f"{name}@example.com"
        event.occurred_at.FromMicroseconds(at or self.clock.now())
        for key, value in numbers.items():
            event.properties[key].double_value = value
        [result] = (await self.profiles.IngestEvents(request)).results
        assert result.outcome != profile_service_pb2.ITEM_OUTCOME_FAILED, result
        return event_id

    async def template(self, template_id: str = "hello", text: str = "Hello") -> None:
        await self.templates.PublishTemplate(
            ParseDict(
                {
                    "workspaceId": self.workspace,
                    "templateId": template_id,
                    "content": {"email": {"subject": "Hello", "text": text}},
                },
                template_service_pb2.PublishTemplateRequest(),
            )
        )

    async def segment(self, segment_id: str, condition: dict[str, Any], members: int) -> None:
        """Publish a segment, and wait until it's ready and has so many members."""
        await self.segments.PublishSegment(
            ParseDict(
                {"workspaceId": self.workspace, "segmentId": segment_id, "definition": {"condition": condition}},
                segment_service_pb2.PublishSegmentRequest(),
            )
        )

        async def ready() -> bool:
            request = segment_service_pb2.GetSegmentRequest(workspace_id=self.workspace, segment_id=segment_id)
            found = (await self.segments.GetSegment(request)).segment
            return bool(found.state == segment_pb2.SEGMENT_STATE_READY and found.member_count == members)

        await self.until(ready)

    async def journey(self, steps: list[dict[str, Any]], **entry: Any) -> journey_pb2.Journey:
        """Publish a journey `welcome` on `signup`."""
        request = ParseDict(
            {
                "workspaceId": self.workspace,
                "journeyId": "welcome",
                "definition": {"entry": {"eventType": "signup", **entry}, "steps": steps},
            },
            journey_service_pb2.PublishJourneyRequest(),
        )
        return (await self.journeys.PublishJourney(request)).journey

    async def set_journey(self, state: str) -> None:
        request = ParseDict(
            {"workspaceId": self.workspace, "journeyId": "welcome", "state": state},
            journey_service_pb2.SetJourneyStateRequest(),
        )
        await self.journeys.SetJourneyState(request)

    async def runs(self) -> list[journey_pb2.Run]:
        request = journey_service_pb2.ListRunsRequest(workspace_id=self.workspace, journey_id="welcome")
        return list((await self.journeys.ListRuns(request)).runs)

    async def run_at(self, step_id: str) -> journey_pb2.Run:
        """The one run, once it waits at this step."""

        async def probe() -> journey_pb2.Run | None:
            runs = await self.runs()
            return runs[0] if runs and runs[0].step_id == step_id else None

        run: journey_pb2.Run = await self.until(probe)
        return run

    async def run_outcomes(self, outcomes: list[str]) -> journey_pb2.Run:
        """The one run, once its messages came out so."""

        async def probe() -> journey_pb2.Run | None:
            runs = await self.runs()
            return runs[0] if runs and [send.outcome for send in runs[0].sends] == outcomes else None

        run: journey_pb2.Run = await self.until(probe)
        return run

    async def decided(self, profile_id: str) -> list[decision_pb2.Decision]:
        """The decisions about a profile, oldest first."""
        request = decision_service_pb2.ListDecisionsRequest(workspace_id=self.workspace, profile_id=profile_id)
        return list(reversed((await self.decisions.ListDecisions(request)).decisions))

    async def campaign(self, at: Instant, *, segment_id: str = "all", rate: float = 0) -> campaign_pb2.Campaign:
        """Schedule the campaign `news`."""
        request = ParseDict(
            {
                "workspaceId": self.workspace,
                "campaignId": "news",
                "definition": {"segmentId": segment_id, "send": SEND, "schedule": {}, "messagesPerSecond": rate},
            },
            campaign_service_pb2.ScheduleCampaignRequest(),
        )
        request.definition.schedule.at.FromMicroseconds(at)
        return (await self.campaigns.ScheduleCampaign(request)).campaign

    async def campaign_now(self) -> campaign_pb2.Campaign:
        request = campaign_service_pb2.GetCampaignRequest(workspace_id=self.workspace, campaign_id="news")
        return (await self.campaigns.GetCampaign(request)).campaign

    async def campaign_is(self, state: int) -> campaign_pb2.Campaign:
        async def probe() -> campaign_pb2.Campaign | None:
            campaign = await self.campaign_now()
            return campaign if campaign.state == state else None

        campaign: campaign_pb2.Campaign = await self.until(probe)
        return campaign


@asynccontextmanager
async def house(
    directory: Path,
    *,
    observe: Callable[[Mounted], Mounted] = lambda mount: mount,
    carriers: Mapping[int, Provider] | None = None,
    callers: KnowsCallers | None = None,
    token_file: Path | None = None,
    telemetry: Callable[[str], Telemetry] = lambda service: Telemetry(),
) -> AsyncIterator[House]:
    """A house of its own, with everything in `directory`. `observe` may put something around each servicer, and
    `carriers` are the providers by channel, instead of one that writes down emails. With `callers` only they are
    served; `token_file` then has the token with which the services and the stubs call. `telemetry` gives each service,
    by its name, what watches it."""
    async with AsyncExitStack() as exits:
        nats = exits.enter_context(nats_server())
        clock = FakeClock(1_767_225_600 * SECOND)  # 2026-01-01T00:00:00Z, a Thursday
        sent_file = directory / "sent.jsonl"
        settings: dict[str, Any] = {
            "nats_url": nats.url,
            "mongodb_uri": "",
            "data_dir": directory,
            "partitions": 2,
            "migrate_on_start": True,
            "token_file": token_file,
        }

        # They call each other in a circle: so all have their addresses before the first of them is built.
        watched = {name: telemetry(name) for name in SERVICES}
        servers = {name: Server((), callers, telemetry=watched[name]) for name in SERVICES}
        targets: dict[str, str] = {}
        for name, server in servers.items():
            targets[f"{name}_target"] = f"127.0.0.1:{await server.start('127.0.0.1:0')}"
            exits.push_async_callback(server.stop, 0)

        async def open_house(name: str, app: App) -> None:
            servers[name].mount([observe(mount) for mount in app.mounted])
            await servers[name].set_serving(True)
            exits.push_async_callback(servers[name].stop, 1)
            running = Running(app.loops, watched[name].metrics)
            exits.push_async_callback(running.stop, _DRAIN_S)

        async def app(name: str, build: Any, config: Any) -> None:
            built: App = await exits.enter_async_context(build(config, clock, telemetry=watched[name]))
            await open_house(name, built)

        # Each service waits for the streams of those it listens to; one after the other, they would wait for ever.
        broker = await Broker.connect(nats.url, "house")
        await broker.declare(
            [
                *profile.footing(profile.ProfileConfig(**settings)).streams,
                *segment.footing(segment.SegmentConfig(**settings)).streams,
                *orchestrator.footing(orchestrator.OrchestratorConfig(**settings)).streams,
            ],
            [],
        )
        await broker.close()

        await app("profile", profile.build, profile.ProfileConfig(**settings, **targets))
        await app("segment", segment.build, segment.SegmentConfig(**settings))
        await app(
            "channels",
            partial(channels.build, carriers=carriers),
            ChannelsConfig(**settings, email_provider="log", log_provider_file=sent_file),
        )
        await app("orchestrator", orchestrator.build, orchestrator.OrchestratorConfig(**settings, **targets))
        opened = {
            name.removesuffix("_target"): await exits.enter_async_context(open_channel(target, token_file=token_file))
            for name, target in targets.items()
        }
        yield House(
            clock,
            sent_file,
            profile_service_pb2_grpc.ProfileServiceStub(opened["profile"]),
            segment_service_pb2_grpc.SegmentServiceStub(opened["segment"]),
            journey_service_pb2_grpc.JourneyServiceStub(opened["orchestrator"]),
            campaign_service_pb2_grpc.CampaignServiceStub(opened["orchestrator"]),
            decision_service_pb2_grpc.DecisionServiceStub(opened["orchestrator"]),
            template_service_pb2_grpc.TemplateServiceStub(opened["channels"]),
            message_service_pb2_grpc.MessageServiceStub(opened["channels"]),
            operation_service_pb2_grpc.OperationServiceStub(opened["profile"]),
            profile_rules_service_pb2_grpc.ProfileRulesServiceStub(opened["profile"]),
            {name.removesuffix("_target"): target for name, target in targets.items()},
            nats.url,
            count(1),
        )
