"""No personal data in any log: a real stack at log level debug is given marked data of every kind, in requests and
messages good and bad, and no mark is found in what its services wrote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from camino.channels.v1 import message_pb2, message_service_pb2, template_service_pb2
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.client import CaminoError, Client, connect
from camino.ops.v1 import dead_letter_service_pb2
from camino.orchestrator.v1 import decision_service_pb2, journey_service_pb2
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.profile.v1 import profile_service_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import segment_service_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from cli.stack import SERVICES, Stack
from services.chassis.broker import Broker
from services.chassis.events import subject_of
from services.chassis.testing import eventually
from tests.smtp import SmtpServer, smtp_server

EMAIL, SMS = "CHANNEL_EMAIL", "CHANNEL_SMS"


class Marks:
    """Marked data: each piece has something in it that is found nowhere else."""

    def __init__(self) -> None:
        self._numbers = count(100_000)
        self.given: list[str] = []

    def word(self) -> str:
        return self._mark(f"zq{next(self._numbers)}qz")

    def email(self) -> str:
        return f"{self.word()}@example.com"

    def phone(self) -> str:
        return "+34911" + self._mark(str(next(self._numbers)))

    def _mark(self, mark: str) -> str:
        self.given.append(mark)
        return mark


@pytest.fixture(scope="module")
def mail_server() -> Iterator[SmtpServer]:
    with smtp_server() as server:
        yield server


@pytest.fixture
async def stack(tmp_path: Path, mail_server: SmtpServer) -> AsyncIterator[Stack]:
    environment = {name: {"CAMINO_LOG_LEVEL": "debug"} for name in SERVICES}
    environment["channels"].update(
        {
            "CAMINO_EMAIL_PROVIDER": "smtp",
            "CAMINO_SMTP_HOST": "127.0.0.1",
            "CAMINO_SMTP_PORT": str(mail_server.port),
            "CAMINO_SMS_PROVIDER": "log",
        }
    )
    stack = Stack(tmp_path, dict.fromkeys(SERVICES, 0), environment=environment)
    await asyncio.to_thread(stack.start)
    yield stack
    await asyncio.to_thread(stack.stop)


def _lines(stack: Stack) -> list[dict[str, Any]]:
    """All that the services wrote; every line is JSON."""
    return [
        json.loads(line)
        for name in SERVICES
        for line in (stack.data / "logs" / f"{name}.log").read_text().splitlines()
        if line
    ]


class Story:
    """What is done with marked data."""

    def __init__(self, client: Client, marks: Marks) -> None:
        self._client = client
        self._marks = marks

    async def fails(self, call: Any, request: Message, said: Mapping[str, Any]) -> None:
        with pytest.raises(CaminoError):
            await call(ParseDict({"workspaceId": "main", **said}, request))

    async def publish(self) -> None:
        """Templates, a segment and journeys, with marked texts and values."""
        word = self._marks.word
        hello = {"subject": f"{word()} {{{{ profile.first_name }}}}", "text": f"{word()} {{{{ event.sku }}}}"}
        unrenderable = {"subject": "Hello", "text": f"{word()} {{{{ profile.first_name | divided_by: 0 }}}}"}
        text = {"channel": SMS, "text": f"{word()} {{{{ profile.first_name }}}}"}
        for name, content in {
            "hello": {"email": hello},
            "bad": {"email": unrenderable},
            "text": {"text": text},
        }.items():
            request = {"workspaceId": "main", "templateId": name, "content": content}
            await self._client.templates.PublishTemplate(
                ParseDict(request, template_service_pb2.PublishTemplateRequest())
            )
        named = {"attribute": {"name": "city", "equals": {"stringValue": word()}}}
        await self._client.segments.PublishSegment(
            ParseDict(
                {"workspaceId": "main", "segmentId": "named", "definition": {"condition": named}},
                segment_service_pb2.PublishSegmentRequest(),
            )
        )
        for template, channel in {"hello": EMAIL, "bad": EMAIL, "text": SMS}.items():
            send = {"channel": channel, "templateId": template, "topic": "news", "purpose": "PURPOSE_TRANSACTIONAL"}
            definition = {"entry": {"eventType": "signup"}, "steps": [{"id": "go", "send": send}]}
            await self._client.journeys.PublishJourney(
                ParseDict(
                    {"workspaceId": "main", "journeyId": template, "definition": definition},
                    journey_service_pb2.PublishJourneyRequest(),
                )
            )

    async def people(self, number: int) -> list[str]:
        """People of whom everything is marked, and who all sign up. Their emails."""
        marks = self._marks
        emails = [marks.email() for _ in range(number)]
        profiles = [
            {
                "identities": [
                    {"namespace": "email", "value": email},
                    {"namespace": "phone", "value": marks.phone()},
                    {"namespace": "crm", "value": marks.word()},
                ],
                "attributes": {
                    "first_name": {"value": {"stringValue": marks.word()}},
                    "city": {"value": {"stringListValue": {"values": [marks.word()]}}},
                },
                "consents": [
                    {"channel": EMAIL, "topic": "news", "state": "CONSENT_STATE_OPTED_IN", "source": marks.word()}
                ],
            }
            for email in emails
        ]
        events = [
            {
                "eventId": f"signup-{place}",
                "type": "signup",
                "identity": {"namespace": "email", "value": email},
                "properties": {"sku": {"stringValue": marks.word()}},
            }
            for place, email in enumerate(emails)
        ]
        await self._client.profiles.IngestProfiles(
            ParseDict({"workspaceId": "main", "profiles": profiles}, profile_service_pb2.IngestProfilesRequest())
        )
        await self._client.profiles.IngestEvents(
            ParseDict({"workspaceId": "main", "events": events}, profile_service_pb2.IngestEventsRequest())
        )
        return emails

    async def bad_requests(self) -> None:
        """Marked data in requests that are refused, as wholes and item by item, by the schema and by the services."""
        client, marks = self._client, self._marks
        items = [
            {"identities": [{"namespace": "email", "value": f"{marks.word()} at nowhere"}]},
            {"identities": [{"namespace": "phone", "value": f"0034 {marks.word()}"}]},
            {"identities": [{"namespace": "email", "value": marks.email()}], "timeZone": marks.word()},
            {"identities": [{"namespace": "email", "value": marks.email()}], "locale": f"x {marks.word()}"},
        ]
        await client.profiles.IngestProfiles(
            ParseDict({"workspaceId": "main", "profiles": items}, profile_service_pb2.IngestProfilesRequest())
        )
        get_profile, get_message = profile_service_pb2.GetProfileRequest, message_service_pb2.GetMessageRequest
        await self.fails(client.profiles.GetProfile, get_profile(), {"profileId": marks.word()})
        await self.fails(
            client.profiles.GetProfile, get_profile(), {"identity": {"namespace": "email", "value": marks.email()}}
        )
        await self.fails(
            client.profiles.GetProfile, get_profile(), {"identity": {"namespace": "phone", "value": marks.word()}}
        )
        await self.fails(client.profiles.GetProfile, get_profile(), {"workspaceId": f"Not a {marks.word()}"})
        await self.fails(
            client.profiles.ListProfiles, profile_service_pb2.ListProfilesRequest(), {"pageToken": marks.word()}
        )
        await self.fails(client.messages.GetMessage, get_message(), {"sendId": marks.word()})
        await self.fails(
            client.messages.ResolveMessage,
            message_service_pb2.ResolveMessageRequest(),
            {"sendId": marks.word(), "resolution": "RESOLUTION_SENT", "note": marks.word()},
        )
        await self.fails(
            client.messages.SuppressEndpoint,
            message_service_pb2.SuppressEndpointRequest(),
            {"channel": EMAIL, "endpoint": f"two\nlines {marks.email()}", "reason": marks.word()},
        )
        await client.messages.SuppressEndpoint(
            ParseDict(
                {"workspaceId": "main", "channel": EMAIL, "endpoint": marks.email(), "reason": marks.word()},
                message_service_pb2.SuppressEndpointRequest(),
            )
        )
        await self.fails(
            client.templates.PublishTemplate,
            template_service_pb2.PublishTemplateRequest(),
            {"templateId": "broken", "content": {"email": {"subject": "x", "text": f"{{{{ {marks.word()} | no }}}}"}}},
        )
        impossible = {"event": {"eventType": marks.word(), "count": {"atLeast": 3, "atMost": 1}}}
        await self.fails(
            client.segments.PublishSegment,
            segment_service_pb2.PublishSegmentRequest(),
            {"segmentId": "broken", "definition": {"condition": impossible}},
        )
        await self.fails(
            client.decisions.ListDecisions,
            decision_service_pb2.ListDecisionsRequest(),
            {"profileId": marks.word(), "pageToken": marks.word()},
        )
        await self.fails(
            client.journeys.GetJourney, journey_service_pb2.GetJourneyRequest(), {"journeyId": marks.word()}
        )

    async def bad_messages(self, broker: Broker) -> int:
        """Marked data in facts that can't be handled. How many dead letters they make."""
        word = self._marks.word
        request = SendRequested(
            workspace_id="main",
            send_id="s-1",
            profile_id=word(),
            channel=1,
            endpoint=f"{word()}\n",
            source_key=f"{word()} x",
        )
        settled = MessageSettled(workspace_id="main", send_id="s-2", source_key=word())
        facts: list[tuple[str, bytes]] = [
            (subject_of(ProfileChanged, "main", 0, "p-1"), b"\x08\x96\x01 not protobuf " + word().encode()),
            (subject_of(SendRequested, "main", 0, "k-1"), request.SerializeToString()),
            (subject_of(MessageSettled, "main", 0, "k-2"), settled.SerializeToString()),
        ]
        for subject, data in facts:
            await broker.jetstream.publish(subject, data)
        return 4  # the first one for two consumers


async def test_no_marked_data_is_found_in_any_log(stack: Stack, mail_server: SmtpServer) -> None:
    marks = Marks()
    targets = {name: stack.target(name) for name in SERVICES}
    broker = await Broker.connect(stack.broker, "test")
    async with connect(**targets) as client:
        story = Story(client, marks)
        await story.publish()
        emails = await story.people(5)
        mail_server.replies["RCPT"] = f"550 5.1.1 nobody of that name here: {marks.word()}"
        await eventually(lambda: _all_ended(client, 3 * len(emails)), within_s=30)
        await story.bad_requests()
        letters = await story.bad_messages(broker)
        await eventually(lambda: _dead_letters(client, letters), within_s=30)
    await broker.close()
    await asyncio.to_thread(stack.stop)

    lines = _lines(stack)
    events = {line["event"] for line in lines}
    assert events >= {"ready", "call", "call failed", "dead letter", "message", "stopped"}
    text = "".join((stack.data / "logs" / f"{name}.log").read_text() for name in SERVICES)
    assert [mark for mark in marks.given if mark in text] == []
    for line in lines:
        assert {"service", "instance", "level", "timestamp"} <= line.keys(), line
        if line["event"].startswith("call"):
            assert line["request_id"], line


async def _all_ended(client: Client, number: int) -> bool:
    request = message_service_pb2.CountMessagesRequest(workspace_id="main")
    counts = (await client.messages.CountMessages(request)).counts
    return sum(count.count for count in counts if count.state >= message_pb2.MESSAGE_STATE_SENT) >= number


async def _dead_letters(client: Client, number: int) -> bool:
    request = dead_letter_service_pb2.ListDeadLettersRequest(page_size=1)
    found = 0
    for name in SERVICES:
        found += (await client.dead_letters(name).ListDeadLetters(request)).total_size
    return found >= number
