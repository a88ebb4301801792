"""Errors as callers see them: over gRPC, from the real profile servicer on the embedded store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1 import profile_service_pb2_grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from structlog.testing import capture_logs

from services.chassis import errors as errors_module
from services.chassis.app import App
from services.chassis.errors import CaminoError, Status
from services.chassis.methods import UndeclaredMethod, describe
from services.chassis.server import Mounted, Server
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import serving
from services.chassis.tracing import Tracing
from services.profile import service
from services.profile.rules import Registry
from services.profile.store import SCHEMAS, Store
from tests.people import Replica

NAME = "camino.profile.v1.ProfileService"


class Buggy(service.ProfileServicer):
    """The profile servicer with a bug in one method, and a dead store in another."""

    async def GetProfile(self, request: Any, context: object) -> Any:
        raise ValueError("ana@example.com broke it")

    async def ListProfiles(self, request: Any, context: object) -> Any:
        raise errors_module.StoreUnavailable("the disk is full")


@dataclass
class Client:
    channel: grpc.aio.Channel
    profiles: Any


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    database = await SqliteDatabase.open(tmp_path / "profile.db")
    try:
        await database.migrate(SCHEMAS)
        yield Store.of(database)
    finally:
        await database.close()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Client]:
    servicer = made(service.ProfileServicer, store)
    async with serving(App([service.mounted(servicer)], [])) as channel:
        yield Client(channel, profile_service_pb2_grpc.ProfileServiceStub(channel))


def made(kind: type[service.ProfileServicer], store: Store) -> service.ProfileServicer:
    replica = Replica(store)
    registry = Registry(store, replica.clock)
    return kind(store, registry, replica.profiles, replica.events, replica.unlinking, replica.clock, Tracing())


@pytest.fixture
async def buggy(store: Store) -> AsyncIterator[Any]:
    servicer = made(Buggy, store)
    async with serving(App([service.mounted(servicer)], [])) as channel:
        yield profile_service_pb2_grpc.ProfileServiceStub(channel)


async def failure(call: Any) -> tuple[grpc.aio.AioRpcError, Any, Any]:
    """The error of a call, its ErrorInfo, and its BadRequest."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    status = rpc_status.from_call(raised.value)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        for kind in (info, bad):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    assert info.domain == "camino"
    return raised.value, info, bad


def event(event_id: str, email: str = "ana@example.com") -> pb.EventInput:
    item = pb.EventInput(event_id=event_id, type="purchase")
    item.identity.namespace, item.identity.value = "email", email
    return item


async def test_a_bad_request_names_every_field_at_fault(client: Client) -> None:
    error, info, bad = await failure(
        client.profiles.ListProfiles(pb.ListProfilesRequest(workspace_id="NO SPACES", page_size=-1))
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info.reason == "INVALID_FIELD"
    assert {violation.field for violation in bad.field_violations} == {"workspace_id", "page_size"}
    assert all(violation.description for violation in bad.field_violations)


async def test_a_bad_page_token_says_so(client: Client) -> None:
    request = pb.ListProfilesRequest(workspace_id="shop", page_token="made up")
    error, info, bad = await failure(client.profiles.ListProfiles(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info.reason == "INVALID_PAGE_TOKEN"
    assert [violation.field for violation in bad.field_violations] == ["page_token"]


async def test_items_fail_alone_and_name_the_field_from_the_item_on(client: Client) -> None:
    batch = [event("e1"), event("", "bob@example.com"), event("e3", "not an address"), event("e4")]
    response = await client.profiles.IngestEvents(pb.IngestEventsRequest(workspace_id="shop", events=batch))
    outcomes = [result.outcome for result in response.results]
    assert outcomes == [pb.ITEM_OUTCOME_OK, pb.ITEM_OUTCOME_FAILED, pb.ITEM_OUTCOME_FAILED, pb.ITEM_OUTCOME_OK]
    assert [result.error.field for result in response.results] == ["", "event_id", "identity.value", ""]
    assert all(
        result.error.reason == reason_pb2.REASON_INVALID_FIELD
        for result in response.results
        if result.HasField("error")
    )
    assert response.results[0].profile_id == response.results[3].profile_id != ""


async def test_violations_of_one_call_are_not_anothers(client: Client) -> None:
    bad = pb.IngestEventsRequest(workspace_id="shop", events=[event("")])
    good = pb.IngestEventsRequest(workspace_id="shop", events=[event("e1")])
    for request, outcome in ((bad, pb.ITEM_OUTCOME_FAILED), (good, pb.ITEM_OUTCOME_OK)):
        response = await client.profiles.IngestEvents(request)
        assert [result.outcome for result in response.results] == [outcome]


async def test_a_rule_about_the_whole_list_refuses_the_request(client: Client) -> None:
    error, _, bad = await failure(client.profiles.IngestEvents(pb.IngestEventsRequest(workspace_id="shop")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in bad.field_violations] == ["events"]


async def test_what_is_not_there_is_named(client: Client) -> None:
    error, info, _ = await failure(
        client.profiles.GetProfile(pb.GetProfileRequest(workspace_id="shop", profile_id="p404"))
    )
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert info.reason == "NOT_FOUND"
    assert dict(info.metadata) == {"resource": "profile", "name": "p404"}


async def test_an_error_of_a_thousand_violations_still_arrives(client: Client) -> None:
    request = pb.BatchGetProfilesRequest(workspace_id="shop", profile_ids=["x" * 65] * 1000)
    error, info, bad = await failure(client.profiles.BatchGetProfiles(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info.reason == "INVALID_FIELD"
    assert bad.field_violations[0].field == "profile_ids[0]"


async def test_an_error_may_have_any_words(client: Client) -> None:
    name = "é ☃\n" * 9
    error, info, _ = await failure(
        client.profiles.GetProfile(pb.GetProfileRequest(workspace_id="shop", profile_id=name))
    )
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert info.metadata["name"] == name


async def test_a_bug_is_internal_and_keeps_its_words_to_itself(buggy: Any) -> None:
    request = pb.GetProfileRequest(workspace_id="shop")
    request.identity.namespace, request.identity.value = "email", "ana@example.com"
    with capture_logs() as logs:
        error, info, _ = await failure(buggy.GetProfile(request))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert info.reason == "INTERNAL"
    assert "ana@example.com" not in f"{error.details()}{info}"
    [line] = [line for line in logs if line["event"] == "call failed"]
    assert line["log_level"] == "error"
    assert line["request"]["identity"] == {"namespace": "email", "value": "***"}
    assert line["exc_info"] is not None


async def test_an_outage_is_unavailable_with_its_reason(buggy: Any) -> None:
    error, info, _ = await failure(buggy.ListProfiles(pb.ListProfilesRequest(workspace_id="shop"), timeout=10))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert info.reason == "STORE_UNAVAILABLE"


def test_every_error_has_a_status_of_grpc_and_a_reason_of_the_contract() -> None:
    kinds = [kind for kind in vars(errors_module).values() if isinstance(kind, type) and issubclass(kind, CaminoError)]
    assert len(kinds) > 10
    for kind in kinds:
        assert grpc.StatusCode[kind.status.value]
        assert reason_pb2.Reason.Value(f"REASON_{kind.reason}")


@pytest.mark.parametrize("status", Status)
def test_what_may_succeed_later_is_transient(status: Status) -> None:
    assert status.transient == (status.name in {"UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"})


async def test_health_is_told_for_the_server_and_each_service(client: Client) -> None:
    health = health_pb2_grpc.HealthStub(client.channel)
    for name in ("", NAME):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_services(client: Client) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await call.read()
    names = {found.name for found in answer.list_services_response.service}
    assert {NAME, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names


@pytest.mark.parametrize("missing", ["required_scope", "idempotency_level"])
async def test_a_service_with_a_method_that_does_not_declare_itself_does_not_start(missing: str) -> None:
    package = f"test.undeclared.{missing}"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{missing}.proto", package=package, syntax="proto3", dependency=["camino/options/v1/options.proto"]
    )
    file.message_type.add(name="Nothing")
    method = file.service.add(name="Careless").method.add(
        name="Do", input_type=f".{package}.Nothing", output_type=f".{package}.Nothing"
    )
    if missing != "idempotency_level":
        method.options.idempotency_level = descriptor_pb2.MethodOptions.IDEMPOTENT
    if missing != "required_scope":
        # The scope's field number and wire type, and its text.
        method.options.MergeFromString(b"\xf2\xe0\x18\x01x")
    descriptor_pool.Default().Add(file)
    name = f"{package}.Careless"
    with pytest.raises(UndeclaredMethod, match=f"Do declares no {missing}"):
        Server([Mounted(lambda servicer, server: None, object(), name)])
    with pytest.raises(UndeclaredMethod):
        describe(name)
