"""A stack to measure, and what the operating system knows of its processes."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from camino.channels.v1 import message_service_pb2_grpc, template_service_pb2, template_service_pb2_grpc
from camino.orchestrator.v1 import (
    campaign_service_pb2,
    campaign_service_pb2_grpc,
    journey_service_pb2,
    journey_service_pb2_grpc,
)
from camino.profile.v1 import profile_service_pb2, profile_service_pb2_grpc
from camino.segment.v1 import segment_service_pb2, segment_service_pb2_grpc
from google.protobuf.json_format import ParseDict

from cli.stack import SERVICES, Stack
from services.chassis.clients import open_channel
from services.chassis.testing import eventually

BATCH = 100
_SEND = {"channel": "CHANNEL_EMAIL", "templateId": "hello", "topic": "news", "purpose": "PURPOSE_TRANSACTIONAL"}


@dataclass(slots=True)
class Measured:
    """A running stack with stubs. `sent` is the log provider's file: a line for each message that was accepted."""

    stack: Stack
    started_in: float
    profiles: profile_service_pb2_grpc.ProfileServiceStub
    segments: segment_service_pb2_grpc.SegmentServiceStub
    journeys: journey_service_pb2_grpc.JourneyServiceStub
    campaigns: campaign_service_pb2_grpc.CampaignServiceStub
    templates: template_service_pb2_grpc.TemplateServiceStub
    messages: message_service_pb2_grpc.MessageServiceStub
    sent: Path
    _seen: int = 0
    processes: dict[str, psutil.Process] = field(default_factory=dict)

    def cpu_s(self) -> float:
        """CPU seconds so far of all the stack's processes, the broker's among them."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes.values())

    def memory_mb(self) -> dict[str, float]:
        return {name: process.memory_info().rss / 2**20 for name, process in self.processes.items()}

    def accepted(self) -> list[str]:
        """The addresses of the messages accepted since the last time."""
        with self.sent.open() as file:
            file.seek(self._seen)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._seen += len(whole.encode())
        return [json.loads(line)["to"] for line in whole.splitlines()]

    def taken(self) -> list[dict[str, str]]:
        """Every message accepted so far, as the log provider wrote it down."""
        text = self.sent.read_text()
        # The last line may be half written.
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    async def wait_accepted(self, count: int, within_s: float = 120) -> None:
        seen = 0
        async with asyncio.timeout(within_s):
            while True:
                seen += len(self.accepted())
                if seen >= count:
                    return
                await asyncio.sleep(0.002)

    async def people(self, workspace: str, count: int) -> None:
        for start in range(0, count, 500):
            request = profile_service_pb2.IngestProfilesRequest(workspace_id=workspace)
            for number in range(start, min(start + 500, count)):
                item = request.profiles.add()
                item.identities.add(namespace="email", value=f"{workspace}-{number}@example.com")
                item.attributes["first_name"].value.string_value = "Ana"
                item.attributes["city"].value.string_value = "Madrid"
                item.attributes["orders"].value.double_value = 3
            await self.profiles.IngestProfiles(request)

    async def events(
        self, workspace: str, prefix: str, people: Iterable[int], event_type: str, size: int = BATCH
    ) -> None:
        """One event for each of these people, in durable batches, four requests at a time."""
        numbers = list(people)
        gate = asyncio.Semaphore(4)

        async def send(batch: list[int]) -> None:
            request = profile_service_pb2.IngestEventsRequest(workspace_id=workspace)
            for number in batch:
                event = request.events.add(event_id=f"{prefix}-{number}", type=event_type)
                event.identity.namespace, event.identity.value = "email", f"{workspace}-{number}@example.com"
                event.properties["value"].double_value = 12.5
                event.properties["sku"].string_value = "A1"
            async with gate:
                await self.profiles.IngestEvents(request)

        await asyncio.gather(*(send(numbers[start : start + size]) for start in range(0, len(numbers), size)))

    async def publish(self, workspace: str) -> None:
        """A template, a segment of those who ever bought, and a journey: on `signup`, in the segment or not, send."""
        content = {
            "email": {
                "subject": "Hello {{ profile.first_name }}",
                "text": "You are in {{ profile.city }} and bought for {{ event.value | default: 0 }}.",
            }
        }
        await self.templates.PublishTemplate(
            ParseDict(
                {"workspaceId": workspace, "templateId": "hello", "content": content},
                template_service_pb2.PublishTemplateRequest(),
            )
        )
        bought = {"event": {"eventType": "purchase", "count": {"atLeast": 1}}}
        await self.segments.PublishSegment(
            ParseDict(
                {"workspaceId": workspace, "segmentId": "bought", "definition": {"condition": bought}},
                segment_service_pb2.PublishSegmentRequest(),
            )
        )
        journey = {
            "entry": {"eventType": "signup"},
            "steps": [
                {
                    "id": "which",
                    "condition": {"branches": [{"inSegment": "bought", "next": "known"}], "otherwise": "new"},
                },
                {"id": "known", "send": _SEND},
                {"id": "new", "send": _SEND},
            ],
        }
        await self.journeys.PublishJourney(
            ParseDict(
                {"workspaceId": workspace, "journeyId": "welcome", "definition": journey},
                journey_service_pb2.PublishJourneyRequest(),
            )
        )

    async def members(self, workspace: str, count: int) -> None:
        """Wait until so many are in the segment."""
        request = segment_service_pb2.GetSegmentRequest(workspace_id=workspace, segment_id="bought")

        async def enough() -> bool:
            return bool((await self.segments.GetSegment(request)).segment.member_count >= count)

        await eventually(enough, within_s=120)

    async def campaign(self, workspace: str, rate: float = 0) -> None:
        """Schedule a campaign to the segment for now, with so many messages a second at most; 0 for no limit."""
        request = ParseDict(
            {
                "workspaceId": workspace,
                "campaignId": "news",
                "definition": {"segmentId": "bought", "send": _SEND, "schedule": {}},
            },
            campaign_service_pb2.ScheduleCampaignRequest(),
        )
        request.definition.messages_per_second = rate
        request.definition.schedule.at.GetCurrentTime()
        await self.campaigns.ScheduleCampaign(request)


@asynccontextmanager
async def measured(
    prepare: Callable[[Path], Awaitable[None]] | None = None, **channels: str
) -> AsyncIterator[Measured]:
    """A stack with the log provider, everything on this machine: on the embedded store, unless MONGODB_URI and NATS_URL
    say otherwise. `prepare` fills its directory before it starts; `channels` are settings of that service."""
    async with AsyncExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="camino-bench-")))
        sent = directory / "sent.jsonl"
        sent.touch()
        environment = {name: {"CAMINO_LOG_LEVEL": "warning"} for name in SERVICES}
        environment["channels"].update(
            {"CAMINO_EMAIL_PROVIDER": "log", "CAMINO_LOG_PROVIDER_FILE": str(sent)}, **channels
        )
        stack = Stack(
            directory, dict.fromkeys(SERVICES, 0), environment=environment, nats_url=os.environ.get("NATS_URL", "")
        )
        if prepare is not None:
            await prepare(directory)
        began = time.perf_counter()
        stack.start()
        exits.callback(stack.stop)
        started_in = time.perf_counter() - began
        opened = {
            name: await exits.enter_async_context(open_channel(stack.target(name), timeout_s=60)) for name in SERVICES
        }
        yield Measured(
            stack,
            started_in,
            profile_service_pb2_grpc.ProfileServiceStub(opened["profile"]),
            segment_service_pb2_grpc.SegmentServiceStub(opened["segment"]),
            journey_service_pb2_grpc.JourneyServiceStub(opened["orchestrator"]),
            campaign_service_pb2_grpc.CampaignServiceStub(opened["orchestrator"]),
            template_service_pb2_grpc.TemplateServiceStub(opened["channels"]),
            message_service_pb2_grpc.MessageServiceStub(opened["channels"]),
            sent,
            processes={name: psutil.Process(pid) for name, pid in stack.pids().items()},
        )
