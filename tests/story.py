"""The smallest story on a running stack: people sign up, and each is sent an email."""

from __future__ import annotations

from camino.channels.v1 import template_service_pb2
from camino.client import Client
from camino.orchestrator.v1 import journey_service_pb2
from camino.profile.v1 import profile_service_pb2
from google.protobuf.json_format import ParseDict


async def publish(client: Client) -> None:
    """A template, and a journey that sends it to whoever signs up."""
    content = {"email": {"subject": "Hello", "text": "Hello {{ profile.first_name }}"}}
    await client.templates.PublishTemplate(
        ParseDict(
            {"workspaceId": "main", "templateId": "hello", "content": content},
            template_service_pb2.PublishTemplateRequest(),
        )
    )
    send = {"channel": "CHANNEL_EMAIL", "templateId": "hello", "topic": "news", "purpose": "PURPOSE_TRANSACTIONAL"}
    definition = {"entry": {"eventType": "signup"}, "steps": [{"id": "go", "send": send}]}
    await client.journeys.PublishJourney(
        ParseDict(
            {"workspaceId": "main", "journeyId": "welcome", "definition": definition},
            journey_service_pb2.PublishJourneyRequest(),
        )
    )


async def people(client: Client, number: int) -> None:
    request = profile_service_pb2.IngestProfilesRequest(workspace_id="main")
    for place in range(number):
        item = request.profiles.add()
        item.identities.add(namespace="email", value=f"p-{place}@example.com")
        item.attributes["first_name"].value.string_value = "Ana"
    await client.profiles.IngestProfiles(request)


async def sign_up(client: Client, number: int) -> None:
    """All of them, in one request."""
    request = profile_service_pb2.IngestEventsRequest(workspace_id="main")
    for place in range(number):
        event = request.events.add(event_id=f"e-{place}", type="signup")
        event.identity.namespace, event.identity.value = "email", f"p-{place}@example.com"
    await client.profiles.IngestEvents(request)
