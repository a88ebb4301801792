"""The channels service as its callers see it: over gRPC, on a real broker and the embedded store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog.testing
from camino.channels.v1 import message_pb2, message_service_pb2, message_service_pb2_grpc
from camino.channels.v1 import template_service_pb2 as templates_pb2
from camino.channels.v1 import template_service_pb2_grpc as templates_grpc
from camino.errors.v1 import reason_pb2
from camino.ops.v1 import (
    personal_data_service_pb2,
    personal_data_service_pb2_grpc,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.type.v1 import messaging_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.channels.app import build
from services.channels.config import ChannelsConfig
from services.channels.providers.base import Accepted, Outcome, Unknown
from services.chassis import engine
from services.chassis.broker import Broker, StreamSpec
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.testing import FakeClock, eventually, serving
from tests.servers import nats_server

STATE = message_pb2.MessageState
EMAIL = messaging_pb2.CHANNEL_EMAIL


class Answering:
    """A provider that answers as it's told, to everything."""

    name = "answering"
    batch = 10
    timeout = 1_000_000

    def __init__(self) -> None:
        self.answer: Outcome = Accepted("ref")
        self.sent: list[str] = []

    async def send(self, messages: Any) -> list[Outcome]:
        self.sent.extend(message.send_id for message in messages)
        return [self.answer] * len(messages)

    async def close(self) -> None: ...


@dataclass
class Service:
    clock: FakeClock
    provider: Answering
    broker: Broker
    messages: Any
    templates: Any
    people: Any
    workspaces: Any

    async def request(self, *send_ids: str) -> None:
        batch = []
        for send_id in send_ids:
            request = SendRequested(
                workspace_id="demo",
                send_id=send_id,
                profile_id="p",
                channel=EMAIL,
                endpoint=f"{send_id}@example.com",
                template_id="welcome",
                source_key=f"run:{send_id}",
                source_id="j",
            )
            request.not_after.seconds = self.clock.now() // 1_000_000 + 600
            request.profile["first_name"].string_value = "Ana"
            batch.append(Outgoing(subject_of(SendRequested, "demo", 0, request.source_key), request, send_id))
        await Publisher(self.broker, "test").publish(batch)

    async def in_state(self, send_id: str, state: int) -> message_pb2.Message:
        async def probe() -> message_pb2.Message | None:
            self.clock.advance(5_000)  # loops wait by this clock
            try:
                message = (await self.messages.GetMessage(_get(send_id))).message
            except grpc.aio.AioRpcError:
                return None
            return message if message.state == state else None

        return await eventually(probe)

    async def publish(self, text: str = "Hi {{ profile.first_name }}", etag: str = "", id_: str = "welcome") -> Any:
        request = templates_pb2.PublishTemplateRequest(workspace_id="demo", template_id=id_, etag=etag)
        request.content.email.subject = "Hello"
        request.content.email.text = text
        return (await self.templates.PublishTemplate(request)).template


def _get(send_id: str) -> message_service_pb2.GetMessageRequest:
    return message_service_pb2.GetMessageRequest(workspace_id="demo", send_id=send_id)


@pytest.fixture(scope="module")
def nats_url() -> Iterator[str]:
    with nats_server() as server:
        yield server.url


@pytest.fixture
async def service(nats_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    broker = await Broker.connect(nats_url, "test")
    await broker.declare([StreamSpec("CAMINO_ORCHESTRATOR", (SendRequested,), "work", max_age_s=3600)], [])
    config = ChannelsConfig(
        nats_url=nats_url,
        data_dir=tmp_path / "store",
        partitions=2,
        migrate_on_start=True,
        deletable_workspaces="demo",
    )
    clock, provider = FakeClock(), Answering()
    try:
        async with build(config, clock, {EMAIL: provider}) as app, serving(app) as channel:
            yield Service(
                clock,
                provider,
                broker,
                message_service_pb2_grpc.MessageServiceStub(channel),
                templates_grpc.TemplateServiceStub(channel),
                personal_data_service_pb2_grpc.PersonalDataServiceStub(channel),
                workspace_service_pb2_grpc.WorkspaceServiceStub(channel),
            )
    finally:
        await broker.jetstream.delete_stream("CAMINO_ORCHESTRATOR")
        await broker.close()


async def refused(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """The status, reason and fields at fault of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    reason, fields = "", {}
    for detail in rpc_status.from_call(failed.value).details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        if detail.Unpack(bad):
            fields = {violation.field: violation.description for violation in bad.field_violations}
    return failed.value.code(), reason, fields


# --- templates --------------------------------------------------------------------------------------------------------


async def test_versions_grow_and_stay(service: Service) -> None:
    first = await service.publish("one {{ profile.first_name }}")
    assert (first.version, first.etag) == (1, "v1")
    assert await service.publish("one {{ profile.first_name }}") == first
    second = await service.publish("two", etag=first.etag)
    third = await service.publish("three")
    assert (second.version, third.version) == (2, 3)
    for version, text in ((0, "three"), (3, "three"), (2, "two"), (1, "one {{ profile.first_name }}")):
        request = templates_pb2.GetTemplateRequest(workspace_id="demo", template_id="welcome", version=version)
        assert (await service.templates.GetTemplate(request)).template.content.email.text == text


async def test_an_etag_that_is_not_current_is_refused_unless_nothing_changes(service: Service) -> None:
    await service.publish("one")
    await service.publish("two", etag="v1")
    assert (await service.publish("two", etag="v1")).version == 2
    code, reason, _ = await refused(service.publish("three", etag="v1"))
    assert (code, reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


async def test_a_template_that_cannot_work_is_refused_by_field_and_line(service: Service) -> None:
    code, reason, fields = await refused(service.publish("fine\n{{ profile.x"))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_DEFINITION")
    assert fields == {"content.email.text": "line 2: expected '}}', found end of file"}


async def test_templates_are_listed_page_by_page(service: Service) -> None:
    for id_ in ("c", "a", "b"):
        await service.publish(id_=id_)
    first = await service.templates.ListTemplates(templates_pb2.ListTemplatesRequest(workspace_id="demo", page_size=2))
    rest = await service.templates.ListTemplates(
        templates_pb2.ListTemplatesRequest(workspace_id="demo", page_size=2, page_token=first.next_page_token)
    )
    assert [template.template_id for template in (*first.templates, *rest.templates)] == ["a", "b", "c"]
    assert rest.next_page_token == ""
    assert not (await service.templates.ListTemplates(templates_pb2.ListTemplatesRequest(workspace_id="dem"))).templates


async def test_rendering_sends_nothing(service: Service) -> None:
    await service.publish()
    request = templates_pb2.RenderTemplateRequest(workspace_id="demo", template_id="welcome")
    code, reason, _ = await refused(service.templates.RenderTemplate(request))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TEMPLATE_RENDER_FAILED")
    request.profile["first_name"].string_value = "Ana"
    rendered = await service.templates.RenderTemplate(request)
    assert (rendered.subject, rendered.text, rendered.html) == ("Hello", "Hi Ana", "")
    request.template_id = "nope"
    assert (await refused(service.templates.RenderTemplate(request)))[1] == "NOT_FOUND"
    assert service.provider.sent == []


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_a_request_from_the_broker_becomes_a_sent_message(service: Service) -> None:
    await service.publish()
    await service.request("s1", "s2")
    message = await service.in_state("s1", STATE.MESSAGE_STATE_SENT)
    assert (message.profile_id, message.endpoint, message.source_id) == ("p", "s1@example.com", "j")
    assert (message.provider, message.provider_ref, message.attempt) == ("answering", "ref", 1)
    assert [transition.state for transition in message.history] == [1, 2, 4]
    await service.in_state("s2", STATE.MESSAGE_STATE_SENT)
    request = message_service_pb2.ListMessagesRequest(workspace_id="demo", state=STATE.MESSAGE_STATE_SENT, page_size=1)
    first = await service.messages.ListMessages(request)
    request.page_token = first.next_page_token
    second = await service.messages.ListMessages(request)
    assert {first.messages[0].send_id, second.messages[0].send_id} == {"s1", "s2"}
    assert not first.messages[0].history
    counts = (
        await service.messages.CountMessages(message_service_pb2.CountMessagesRequest(workspace_id="demo"))
    ).counts
    assert {count.state: count.count for count in counts if count.count} == {STATE.MESSAGE_STATE_SENT: 2}


async def test_a_message_that_is_not_there(service: Service) -> None:
    assert (await refused(service.messages.GetMessage(_get("nope"))))[1] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("resolution", "state", "calls"),
    [
        (message_service_pb2.RESOLUTION_SENT, STATE.MESSAGE_STATE_SENT, 1),
        (message_service_pb2.RESOLUTION_FAILED, STATE.MESSAGE_STATE_FAILED, 1),
        (message_service_pb2.RESOLUTION_SEND_AGAIN, STATE.MESSAGE_STATE_SENT, 2),
    ],
)
async def test_an_unknown_message_is_resolved(service: Service, resolution: Any, state: int, calls: int) -> None:
    await service.publish()
    service.provider.answer = Unknown("no answer")
    await service.request("s1")
    message = await service.in_state("s1", STATE.MESSAGE_STATE_UNKNOWN)
    assert message.reason == reason_pb2.REASON_PROVIDER_OUTCOME_UNKNOWN
    service.provider.answer = Accepted()
    request = message_service_pb2.ResolveMessageRequest(
        workspace_id="demo", send_id="s1", resolution=resolution, note="asked"
    )
    await service.messages.ResolveMessage(request)
    await service.messages.ResolveMessage(request)
    resolved = await service.in_state("s1", state)
    assert "asked" in [transition.detail for transition in resolved.history]
    assert len(service.provider.sent) == calls


async def test_a_message_that_was_sent_cannot_be_resolved_otherwise(service: Service) -> None:
    await service.publish()
    await service.request("s1")
    await service.in_state("s1", STATE.MESSAGE_STATE_SENT)
    request = message_service_pb2.ResolveMessageRequest(
        workspace_id="demo", send_id="s1", resolution=message_service_pb2.RESOLUTION_FAILED
    )
    code, reason, _ = await refused(service.messages.ResolveMessage(request))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


async def test_a_suppressed_endpoint_gets_nothing_until_it_is_allowed_again(service: Service) -> None:
    await service.publish()
    endpoint = {"workspace_id": "demo", "channel": EMAIL, "endpoint": "S1@Example.com"}
    suppress = message_service_pb2.SuppressEndpointRequest(**endpoint, reason="asked by phone")
    first = (await service.messages.SuppressEndpoint(suppress)).suppression
    service.clock.advance(1_000_000)
    assert (await service.messages.SuppressEndpoint(suppress)).suppression == first
    await service.request("s1")
    message = await service.in_state("s1", STATE.MESSAGE_STATE_SUPPRESSED)
    assert message.detail == "asked by phone"
    listed = await service.messages.ListSuppressions(message_service_pb2.ListSuppressionsRequest(workspace_id="demo"))
    assert [(entry.endpoint, entry.reason) for entry in listed.suppressions] == [("s1@example.com", "asked by phone")]
    await service.messages.UnsuppressEndpoint(message_service_pb2.UnsuppressEndpointRequest(**endpoint))
    await service.messages.UnsuppressEndpoint(message_service_pb2.UnsuppressEndpointRequest(**endpoint))
    listed = await service.messages.ListSuppressions(message_service_pb2.ListSuppressionsRequest(workspace_id="demo"))
    assert not listed.suppressions
    assert service.provider.sent == []


# --- people who are erased --------------------------------------------------------------------------------------------


async def _erase(service: Service, *endpoints: str) -> dict[str, int]:
    request = personal_data_service_pb2.ErasePersonalDataRequest(workspace_id="demo", profile_ids=["p"])
    for endpoint in endpoints:
        request.endpoints.add(channel=EMAIL, endpoint=endpoint)
    return dict((await service.people.ErasePersonalData(request)).counts)


async def test_an_erased_persons_message_shows_ids_and_states_and_is_not_sent_again(service: Service) -> None:
    await service.publish()
    service.provider.answer = Unknown("no answer from s1@example.com")
    await service.request("s1")
    await service.in_state("s1", STATE.MESSAGE_STATE_UNKNOWN)
    with structlog.testing.capture_logs() as logs:
        assert await _erase(service, "s1@example.com") == {"messages": 1}
        assert await _erase(service, "s1@example.com") == {}
    assert "s1@example.com" not in repr(logs)
    message = (await service.messages.GetMessage(_get("s1"))).message
    assert (message.profile_id, message.template_id, message.source_id) == ("p", "welcome", "j")
    assert (message.endpoint, message.detail) == ("", "")
    assert [(one.state, one.detail) for one in message.history] == [(1, ""), (2, ""), (9, "")]
    resolve = message_service_pb2.ResolveMessageRequest(
        workspace_id="demo", send_id="s1", resolution=message_service_pb2.RESOLUTION_SEND_AGAIN, note="s1@example.com"
    )
    code, reason, _ = await refused(service.messages.ResolveMessage(resolve))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    resolve.resolution = message_service_pb2.RESOLUTION_FAILED
    resolved = (await service.messages.ResolveMessage(resolve)).message
    assert (resolved.state, resolved.detail, resolved.history[-1].detail) == (STATE.MESSAGE_STATE_FAILED, "", "")
    assert service.provider.sent == ["s1"]


async def test_a_suppression_of_an_erased_person_is_found_by_its_endpoint_only(service: Service) -> None:
    await service.publish()
    for name in ("s1", "s2"):
        await service.messages.SuppressEndpoint(
            message_service_pb2.SuppressEndpointRequest(
                workspace_id="demo", channel=EMAIL, endpoint=f"{name}@example.com", reason=f"{name} asked by phone"
            )
        )
    assert await _erase(service, "S1@example.com") == {"suppressions": 1}
    listing = message_service_pb2.ListSuppressionsRequest(workspace_id="demo", page_size=1)
    listed = await service.messages.ListSuppressions(listing)
    assert [one.endpoint for one in listed.suppressions] == ["s2@example.com"]
    listing.page_token = listed.next_page_token
    assert not (await service.messages.ListSuppressions(listing)).suppressions

    endpoint = {"workspace_id": "demo", "channel": EMAIL, "endpoint": "S1@Example.com"}
    suppress = message_service_pb2.SuppressEndpointRequest(**endpoint, reason="again by phone")
    shown = (await service.messages.SuppressEndpoint(suppress)).suppression
    assert (shown.endpoint, shown.reason) == ("s1@example.com", "its person was erased")
    held = personal_data_service_pb2.ListPersonalDataRequest(workspace_id="demo", profile_ids=["p"])
    held.endpoints.add(channel=EMAIL, endpoint="s1@example.com")
    [record] = (await service.people.ListPersonalData(held)).records
    assert (record.kind, json.loads(record.json)["reason"]) == ("suppressions", "its person was erased")

    await service.messages.UnsuppressEndpoint(message_service_pb2.UnsuppressEndpointRequest(**endpoint))
    assert not (await service.people.ListPersonalData(held)).records
    assert (await service.messages.SuppressEndpoint(suppress)).suppression.reason == "again by phone"


async def test_a_page_token_that_is_not_ours_is_refused(service: Service) -> None:
    await service.publish()
    await service.request("s1", "s2")
    for send_id in ("s1", "s2"):
        await service.in_state(send_id, STATE.MESSAGE_STATE_SENT)
    request = personal_data_service_pb2.ListPersonalDataRequest(workspace_id="demo", profile_ids=["p"], page_size=1)
    token = (await service.people.ListPersonalData(request)).next_page_token
    request.page_token = token
    first = await service.people.ListPersonalData(request)
    assert [json.loads(record.json)["sendId"] for record in first.records] == ["s2"]
    for forged in ("x", engine.token(engine.order("personal-data"), ["messages", "1:x"])):
        request.page_token = forged
        assert (await refused(service.people.ListPersonalData(request)))[1] == "INVALID_PAGE_TOKEN"


async def test_a_workspace_that_is_deleted_leaves_no_marker_and_no_salt(service: Service) -> None:
    await service.publish()
    await service.request("s1")
    await service.in_state("s1", STATE.MESSAGE_STATE_SENT)
    await _erase(service, "s1@example.com")
    deleted = await service.workspaces.DeleteWorkspace(
        workspace_service_pb2.DeleteWorkspaceRequest(workspace_id="demo")
    )
    # The template, the message, the hash, the marker, the salt.
    assert deleted.deleted_documents == 5
    await service.publish()
    await service.request("s2")
    await service.in_state("s2", STATE.MESSAGE_STATE_SENT)
