"""Deleting a workspace from all four services: nothing of it is left, nothing else is touched, and it can be filled
anew."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bson
import pytest
from camino.channels.v1 import message_service_pb2
from camino.ops.v1 import workspace_service_pb2
from camino.ops.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from camino.orchestrator.v1 import campaign_pb2
from camino.profile.v1 import operation_service_pb2, profile_rules_service_pb2, profile_service_pb2
from camino.segment.v1 import membership_webhook_service_pb2
from camino.segment.v1.membership_webhook_service_pb2_grpc import MembershipWebhookServiceStub
from camino.type.v1 import messaging_pb2
from structlog.testing import capture_logs

from services.chassis.broker import Broker
from services.chassis.clients import open_channel
from services.chassis.clock import SECOND
from tests.house import SEND, House, house
from tests.kept import Kept, documents, messages

SERVICES = ("orchestrator", "channels", "segment", "profile")
GONE, OTHER = "test-a", "test-a-b"
"""One begins like the other."""

HELLO = {"id": "hello", "send": SEND}
ON_SIGNUP = {"event": {"eventType": "signup", "count": {"atLeast": 1}}}
EVERYONE = {"attribute": {"name": "first_name", "exists": True}}
UNFINISHED = ("publish_at", "outbox_at", "due_at", "resend_at", "owed")


@dataclass(slots=True)
class Deployment:
    """The four services, what they keep, and how to delete a workspace from each."""

    home: House
    directory: Path
    broker: Broker
    stubs: dict[str, Any]

    async def kept(self, workspace_id: str) -> Kept:
        """All that mentions a workspace, anywhere."""
        name = re.compile(rf"{workspace_id}(?![a-z0-9-])".encode())
        everything: Kept = await messages(self.broker)
        for service in SERVICES:
            everything |= documents(self.directory / f"{service}.db")
        return {
            where: what for where, what in everything.items() if name.search("\n".join(where).encode() + b"\n" + what)
        }

    async def at_rest(self, workspace_id: str) -> Kept:
        """The same, once nothing of it is under way."""

        async def probe() -> Kept | None:
            found = await self.kept(workspace_id)
            # Of an operation that is done there is something left to do days later.
            documents_ = ((where, what) for where, what in found.items() if len(where) == 4)
            bodies = [bson.decode(what) for where, what in documents_ if where[1] != "operations"]
            return None if any(body.get(field) for body in bodies for field in UNFINISHED) else found

        kept: Kept = await self.home.until(probe)
        return kept

    async def heard(self) -> None:
        """Return when all that the profile service told has been handled."""

        async def probe() -> bool:
            consumers = await self.broker.jetstream.consumers_info("CAMINO_PROFILE")
            return not any(consumer.num_pending or consumer.num_ack_pending for consumer in consumers)

        await self.home.until(probe)

    async def delete_once(self, workspace_id: str, services: Sequence[str] = SERVICES) -> int:
        """Delete what there is, in each service. How much there was."""
        request = workspace_service_pb2.DeleteWorkspaceRequest(workspace_id=workspace_id)
        replies = [await self.stubs[service].DeleteWorkspace(request) for service in services]
        return sum(reply.deleted_documents + reply.deleted_facts for reply in replies)

    async def delete(self, workspace_id: str, services: Sequence[str] = SERVICES) -> None:
        async def probe() -> bool:
            return await self.delete_once(workspace_id, services) == 0

        await self.home.until(probe)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with house(tmp_path) as home, AsyncExitStack() as exits:
        broker = await Broker.connect(home.nats_url, "test")
        exits.push_async_callback(broker.close)
        stubs = {
            service: WorkspaceServiceStub(await exits.enter_async_context(open_channel(address)))
            for service, address in home.addresses.items()
        }
        yield Deployment(home, tmp_path, broker, stubs)


async def signup(home: House, name: str) -> int:
    """Always the same event of this person; what the service says to it."""
    request = profile_service_pb2.IngestEventsRequest(workspace_id=home.workspace)
    event = request.events.add(event_id=f"signup-{name}", type="signup")
    event.identity.namespace, event.identity.value = "email", f"{name}@example.com"
    event.occurred_at.FromMicroseconds(home.clock.now())
    [result] = (await home.profiles.IngestEvents(request)).results
    return int(result.outcome)


async def welcome(home: House, name: str) -> str:
    """Publish a journey through a segment, and let one person walk it. Her profile's id."""
    await home.template()
    await home.segment("new", ON_SIGNUP, 0)
    branches = {"branches": [{"inSegment": "new", "next": "hello"}], "otherwise": "bye"}
    await home.journey([{"id": "which", "condition": branches}, HELLO, {"id": "bye", "exit": {}}])
    profile_id = await home.person(name, first_name="Ana")
    sent = len(home.sent())
    assert await signup(home, name) == profile_service_pb2.ITEM_OUTCOME_OK
    await home.all_sent(sent + 1)
    await home.run_outcomes(["sent"])
    return profile_id


async def fill(deployment: Deployment, workspace_id: str, name: str) -> None:
    """Put something of a workspace into each collection."""
    home = deployment.home.in_workspace(workspace_id)
    await home.template(text="Hello there")  # Another version than the journey's.
    await welcome(home, name)
    await home.segment("all", EVERYONE, 1)
    await home.campaign(home.clock.now())
    await home.campaign_is(campaign_pb2.CAMPAIGN_STATE_COMPLETED)
    await home.messages.SuppressEndpoint(
        message_service_pb2.SuppressEndpointRequest(
            workspace_id=workspace_id, channel=messaging_pb2.CHANNEL_EMAIL, endpoint="nobody@example.com"
        )
    )
    await home.profile_rules.PublishProfileRules(
        profile_rules_service_pb2.PublishProfileRulesRequest(
            workspace_id=workspace_id,
            definition={"namespaces": [{"name": "loyalty_card", "priority": 300}]},
        )
    )
    async with open_channel(home.addresses["segment"]) as channel:
        await MembershipWebhookServiceStub(channel).PutMembershipWebhook(
            membership_webhook_service_pb2.PutMembershipWebhookRequest(
                workspace_id=workspace_id,
                membership_webhook_id="hook",
                definition={"url": "https://127.0.0.1:9", "paused": True},
            )
        )
    eva = await home.person(f"{name}-eva", first_name="Eva")
    erase = operation_service_pb2.EraseProfileRequest(workspace_id=workspace_id, profile_id=eva)
    await home.done((await home.operations.EraseProfile(erase)).operation)
    export = operation_service_pb2.ExportProfileRequest(workspace_id=workspace_id, request_id="r")
    export.identity.namespace, export.identity.value = "email", f"{name}@example.com"
    await home.done((await home.operations.ExportProfile(export)).operation)
    for fact in ("profile.v1.ProfileChanged", "channels.v1.MessageSettled", "orchestrator.v1.SendRequested"):
        await deployment.broker.jetstream.publish(f"camino.{fact}.{workspace_id}.0.unreadable", b"\xff")

    async def put_aside() -> bool:
        found = await deployment.kept(workspace_id)
        return {where[0] for where in found if where[1] == "dead_letters"} == {"segment", "orchestrator", "channels"}

    await home.until(put_aside)


async def test_nothing_is_left_of_it_and_nothing_else_is_touched(deployment: Deployment) -> None:
    await fill(deployment, GONE, "ana")
    await fill(deployment, OTHER, "bea")
    other = await deployment.at_rest(OTHER)
    before = await deployment.at_rest(GONE)
    assert {where[:2] for where in before if len(where) == 4} == {
        *(
            ("profile", name)
            for name in ("rules", "identities", "profiles", "events", "records", "operations", "exports")
        ),
        *(("segment", name) for name in ("catalogues", "definitions", "facts", "memberships", "transitions")),
        *(("segment", name) for name in ("webhooks", "dead_letters")),
        *(("orchestrator", name) for name in ("journeys", "campaigns", "runs", "shards", "audiences")),
        *(("orchestrator", name) for name in ("journey_versions", "decisions", "erased", "dead_letters")),
        *(
            ("channels", name)
            for name in ("templates", "versions", "messages", "suppressions", "salts", "dead_letters")
        ),
    }
    assert {where[0] for where in before if len(where) == 3} == {"CAMINO_PROFILE", "CAMINO_SEGMENT", "CAMINO_CHANNELS"}
    await deployment.delete(GONE)
    assert await deployment.kept(GONE) == {}
    assert await deployment.kept(OTHER) == other


async def test_what_was_published_in_it_is_forgotten_at_once(deployment: Deployment) -> None:
    home = deployment.home.in_workspace(GONE)
    await welcome(home, "ana")
    await deployment.delete(GONE)
    await home.person("ana", first_name="Ana")
    assert await signup(home, "ana") == profile_service_pb2.ITEM_OUTCOME_OK
    await deployment.at_rest(GONE)
    await deployment.heard()
    assert {where[:2] for where in await deployment.kept(GONE) if len(where) == 4} == {
        *(("profile", name) for name in ("events", "records", "profiles", "identities")),
        ("segment", "facts"),
    }


async def test_it_can_be_filled_anew_at_once_with_the_same_ids(deployment: Deployment) -> None:
    home = deployment.home.in_workspace(GONE)
    first = await welcome(home, "ana")
    await deployment.delete(GONE)
    await home.template(text="Another hello")
    assert await welcome(home, "ana") != first
    assert home.sent() == ["ana@example.com"] * 2
    assert await signup(home, "ana") == profile_service_pb2.ITEM_OUTCOME_DUPLICATE
    await home.segment("new", ON_SIGNUP, 1)


@pytest.mark.parametrize("services", [SERVICES, SERVICES[::-1]], ids=["from-the-end", "from-the-start"])
async def test_what_goes_on_meanwhile_troubles_nobody(deployment: Deployment, services: Sequence[str]) -> None:
    home, other = deployment.home.in_workspace(GONE), deployment.home.in_workspace(OTHER)
    await welcome(home, "ana")
    await welcome(other, "bea")
    for number in range(12):
        await home.person(f"p{number}", first_name="Ana")
    await home.segment("all", EVERYONE, 13)
    await home.campaign(home.clock.now(), rate=1)
    await home.all_sent(4)
    stopping = asyncio.Event()

    async def stream(into: House) -> int:
        number = 0
        while not stopping.is_set():
            await into.event(f"p{number % 7}", "signup")
            number += 1
        return number

    with capture_logs() as logs:
        streams = [asyncio.create_task(stream(into)) for into in (home, other)]
        for _ in range(8):
            home.clock.advance(SECOND)
            await deployment.delete_once(GONE, services)
        stopping.set()
        _, told = await asyncio.gather(*streams)

        async def all_began() -> bool:
            found = await deployment.kept(OTHER)
            return sum(where[:2] == ("orchestrator", "runs") for where in found) == told + 1

        await home.until(all_began)
        await deployment.delete(GONE, services)
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []
    await deployment.at_rest(OTHER)
    assert await deployment.kept(GONE) == {}
    await welcome(home, "ana")
