"""One journey through all services, by the client: whoever signs up is greeted, in one way or another by a segment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camino.channels.v1 import template_service_pb2
from camino.client import Client
from camino.orchestrator.v1 import journey_service_pb2
from camino.profile.v1 import profile_service_pb2
from camino.segment.v1 import segment_service_pb2
from google.protobuf.json_format import ParseDict

from services.chassis.testing import eventually

_SEND = {"channel": "CHANNEL_EMAIL", "templateId": "hello", "topic": "news", "purpose": "PURPOSE_TRANSACTIONAL"}
_STEPS = [
    {"id": "which", "condition": {"branches": [{"inSegment": "bought", "next": "known"}], "otherwise": "new"}},
    {"id": "known", "send": _SEND},
    {"id": "new", "send": _SEND},
]


async def publish(client: Client, workspace_id: str) -> None:
    """A template, a segment, and the journey."""
    mine = {"workspaceId": workspace_id}
    template = {**mine, "templateId": "hello", "content": {"email": {"subject": "Hello", "text": "Hello"}}}
    await client.templates.PublishTemplate(ParseDict(template, template_service_pb2.PublishTemplateRequest()))
    bought = {"event": {"eventType": "purchase", "count": {"atLeast": 1}}}
    segment = {**mine, "segmentId": "bought", "definition": {"condition": bought}}
    await client.segments.PublishSegment(ParseDict(segment, segment_service_pb2.PublishSegmentRequest()))
    journey = {**mine, "journeyId": "welcome", "definition": {"entry": {"eventType": "signup"}, "steps": _STEPS}}
    await client.journeys.PublishJourney(ParseDict(journey, journey_service_pb2.PublishJourneyRequest()))


async def signup(client: Client, workspace_id: str, person: str) -> None:
    identity: Mapping[str, Any] = {"namespace": "email", "value": f"{person}@example.com"}
    profiles = {"workspaceId": workspace_id, "profiles": [{"identities": [identity]}]}
    await client.profiles.IngestProfiles(ParseDict(profiles, profile_service_pb2.IngestProfilesRequest()))
    event = {"eventId": f"signup-{person}", "type": "signup", "identity": identity}
    events = {"workspaceId": workspace_id, "events": [event]}
    await client.profiles.IngestEvents(ParseDict(events, profile_service_pb2.IngestEventsRequest()))


async def greeted(sent: Path, *people: str) -> None:
    """Return when the log provider's file has a message to each of these people. Fails if it has others, or more."""
    expected = sorted(f"{person}@example.com" for person in people)

    async def probe() -> list[str] | None:
        found = _recipients(sent)
        return found if len(found) >= len(expected) else None

    assert await eventually(probe, within_s=30) == expected


def _recipients(sent: Path) -> list[str]:
    text = sent.read_text() if sent.exists() else ""
    # The last line may be half written.
    return sorted(json.loads(line)["to"] for line in text[: text.rfind("\n") + 1].splitlines())
