"""Erasing and exporting people, as callers of the profile service see it: over gRPC, on a real broker, the embedded
store, and others that hold something, too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.client import CaminoError
from camino.errors.v1.reason_pb2 import REASON_PROFILE_ERASING
from camino.profile.v1 import operation_service_pb2 as ops
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.profile.v1.operation_pb2 import (
    OPERATION_KIND_ERASE,
    OPERATION_STATE_DONE,
    OPERATION_STATE_EXPIRED,
    OPERATION_STATE_RUNNING,
    Operation,
)
from camino.profile.v1.operation_service_pb2_grpc import OperationServiceStub
from camino.profile.v1.profile_events_pb2 import ProfileChanged, ProfileErased
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from camino.type.v1.messaging_pb2 import CHANNEL_EMAIL, CHANNEL_SMS
from nats.js.errors import NotFoundError

from services.chassis.broker import Broker
from services.chassis.callers import Callers, digest
from services.chassis.callers_file import parse
from services.chassis.clock import DAY, MILLISECOND, SECOND
from services.chassis.dead_letters import DEAD_LETTERS, DeadLetters, Letter
from services.chassis.events import subject_of
from services.chassis.stores import open_database
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually, serving
from services.profile.app import ProfileConfig, build
from services.profile.store import SCHEMAS
from tests.others import Others, others
from tests.servers import NatsServer, nats_server

MARK = "s3cret"
"""In everything personal."""


class Service:
    """The service, whom it asks, and what it published."""

    def __init__(
        self, channel: grpc.aio.Channel, broker: Broker, clock: FakeClock, asked: Others, telemetry: Telemetry
    ) -> None:
        self.profiles = ProfileServiceStub(channel)
        self.operations = OperationServiceStub(channel)
        self.broker = broker
        self.clock = clock
        self.others = asked
        self.telemetry = telemetry

    async def tell(self, *identities: str, **attributes: str) -> pb.ItemResult:
        item = pb.ProfileInput()
        for identity in identities:
            namespace, _, value = identity.partition(":")
            item.identities.add(namespace=namespace, value=value)
        for name, value in attributes.items():
            item.attributes[name].value.string_value = value
        item.consents.add(channel=CHANNEL_EMAIL, topic="news", state=profile_pb2.CONSENT_STATE_OPTED_IN)
        request = pb.IngestProfilesRequest(workspace_id="shop", profiles=[item])
        return (await self.profiles.IngestProfiles(request)).results[0]

    async def event(self, event_id: str, identity: str, text: str = MARK) -> pb.ItemResult:
        item = pb.EventInput(event_id=event_id, type="visit")
        item.identity.namespace, _, item.identity.value = identity.partition(":")
        item.properties["text"].string_value = text
        return (await self.profiles.IngestEvents(pb.IngestEventsRequest(workspace_id="shop", events=[item]))).results[0]

    async def link(self, *identities: str) -> pb.LinkIdentitiesResponse:
        request = pb.LinkIdentitiesRequest(workspace_id="shop")
        for identity in identities:
            namespace, _, value = identity.partition(":")
            request.identities.add(namespace=namespace, value=value)
        return await self.profiles.LinkIdentities(request)

    async def profile(self, profile_id: str) -> profile_pb2.Profile:
        request = pb.GetProfileRequest(workspace_id="shop", profile_id=profile_id)
        return (await self.profiles.GetProfile(request)).profile

    async def erase(self, profile_id: str) -> Operation:
        request = ops.EraseProfileRequest(workspace_id="shop", profile_id=profile_id)
        return (await self.operations.EraseProfile(request)).operation

    async def export(self, profile_id: str, request_id: str = "r1") -> Operation:
        request = ops.ExportProfileRequest(workspace_id="shop", profile_id=profile_id, request_id=request_id)
        return (await self.operations.ExportProfile(request)).operation

    async def operation(self, operation_id: str) -> Operation:
        request = ops.GetOperationRequest(workspace_id="shop", operation_id=operation_id)
        return (await self.operations.GetOperation(request)).operation

    async def until(
        self, operation: Operation, wanted: Callable[[Operation], object], step: int = 50 * MILLISECOND
    ) -> Operation:
        """The operation once it's as wanted, with time passing."""

        async def probe() -> Operation | None:
            now = await self.operation(operation.operation_id)
            if wanted(now):
                return now
            self.clock.advance(step)
            return None

        return await eventually(probe, within_s=20)

    async def done(self, operation: Operation) -> Operation:
        return await self.until(operation, lambda now: now.state == OPERATION_STATE_DONE)

    async def document(self, operation: Operation) -> tuple[dict[str, Any], int]:
        """What an export gathered, and in how many parts."""
        request = ops.ReadExportRequest(workspace_id="shop", operation_id=operation.operation_id)
        parts = []
        while True:
            answer = await self.operations.ReadExport(request)
            parts.append(answer.part)
            if not answer.next_page_token:
                return json.loads(b"".join(parts)), len(parts)
            request.page_token = answer.next_page_token

    def steps(self) -> float:
        """How many steps of operations were carried out."""
        name = "camino_timer_lateness_seconds_count"
        return self.telemetry.metrics.registry.get_sample_value(name, {"loop": "operations"}) or 0

    async def facts(self, kind: Any) -> list[Any]:
        """Those of a kind in the stream."""
        jetstream = self.broker.jetstream
        name = kind.DESCRIPTOR.full_name
        state = (await jetstream.stream_info("CAMINO_PROFILE")).state
        found = []
        for seq in range(state.first_seq, state.last_seq + 1):
            try:
                message = await jetstream.get_msg("CAMINO_PROFILE", seq)
            except NotFoundError:
                continue
            if str(message.subject).startswith(f"{name}."):
                found.append(kind.FromString(message.data or b""))
        return found

    async def told(self, count: int) -> None:
        """Return when so many changes were published."""

        async def probe() -> bool:
            return len(await self.facts(ProfileChanged)) >= count

        await eventually(probe)


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@asynccontextmanager
async def running(nats: NatsServer, directory: Path, asked: Others, **settings: Any) -> AsyncIterator[Service]:
    clock = FakeClock()
    targets = {f"{name}_target": target for name, target in asked.targets().items()}
    config = ProfileConfig(
        nats_url=nats.url, data_dir=directory, partitions=2, migrate_on_start=True, **targets, **settings
    )
    telemetry = Telemetry()
    async with build(config, clock, telemetry=telemetry) as app, serving(app) as channel:
        broker = await Broker.connect(nats.url, "test")
        try:
            yield Service(channel, broker, clock, asked, telemetry)
        finally:
            await broker.jetstream.purge_stream("CAMINO_PROFILE")
            await broker.close()


@pytest.fixture
async def service(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Service]:
    async with others(tmp_path) as asked, running(nats, tmp_path, asked) as found:
        yield found


async def stored(directory: Path) -> dict[str, str]:
    """Every document of the profile service, which is stopped, as text by where it is."""
    database = await open_database(uri="", path=directory / "profile.db", name="profile")
    try:
        found = {}
        for schema in (*SCHEMAS, DEAD_LETTERS):
            page = await database.collection(schema).scan(limit=10_000)
            found.update({f"{schema.name}: {one.id}": repr(one.body) for one in page.documents})
        return found
    finally:
        await database.close()


async def a_dead_letter(directory: Path, profile_id: str) -> None:
    database = await open_database(uri="", path=directory / "profile.db", name="profile")
    await database.migrate([DEAD_LETTERS])
    letters = DeadLetters(database.collection(DEAD_LETTERS), FakeClock())
    fact = ProfileChanged(profile=profile_pb2.Profile(profile_id=profile_id, locale=MARK))
    for key in (profile_id, "other"):
        subject = subject_of(ProfileChanged, "shop", 0, key)
        await letters.add([Letter("test", subject, fact.SerializeToString(), "INVALID_FIELD")])
    await database.close()


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises(CaminoError) as error:
        await call
    return error.value.reason_name


# --- erasing ----------------------------------------------------------------------------------------------------------


async def test_nothing_is_left_of_who_was_erased(nats: NatsServer, tmp_path: Path) -> None:
    async with others(tmp_path) as asked:
        async with running(nats, tmp_path, asked) as service:
            ana = (await service.tell(f"email:{MARK}@example.com", f"user_id:{MARK}-1", name=f"{MARK} Ana")).profile_id
            ana_too = (await service.tell("phone:+34911234567", f"card:{MARK}-2", name=f"{MARK} A.")).profile_id
            await service.tell("email:bea@example.com", name="Bea")
            await service.event("before", "phone:+34911234567")
            await service.link("phone:+34911234567", f"email:{MARK}@example.com")
            await service.event("after", f"email:{MARK}@example.com")
            await service.told(5)
            await asked["segment"].bury(ana_too)
            asked.hold(3)
            await service.done(await service.export(ana))
        await a_dead_letter(tmp_path, ana_too)
        async with running(nats, tmp_path, asked) as service:
            begun = await service.erase(ana_too)
            assert (begun.kind, begun.state, begun.profile_id) == (OPERATION_KIND_ERASE, OPERATION_STATE_RUNNING, ana)
            assert (await service.erase(ana)).operation_id == begun.operation_id
            ended = await service.done(begun)
            assert asked.asked == ["orchestrator", "segment", "channels"]
            for name in asked.asked:
                [subject] = asked[name].erased
                assert subject.profile_ids == (ana, ana_too)
                assert set(subject.endpoints) == {
                    (CHANNEL_EMAIL, f"{MARK}@example.com"),
                    (CHANNEL_SMS, "+34911234567"),
                }
            receipts = {receipt.service: dict(receipt.counts) for receipt in ended.receipts}
            assert list(receipts) == ["orchestrator", "segment", "channels", "profile"]
            assert receipts["orchestrator"] == {"decisions": 3}
            assert receipts["segment"] == {"decisions": 3, "dead_letters": 1}
            own = receipts["profile"]
            assert (own["events"], own["identities"], own["profiles"], own["exports"]) == (2, 4, 2, 1)
            assert own["dead_letters"] == 2
            for id_ in (ana, ana_too):
                assert await refused(service.profile(id_)) == "NOT_FOUND"
                assert (await service.erase(id_)).operation_id == begun.operation_id
                assert await refused(service.export(id_, "r2")) == "NOT_FOUND"
            told_of = {fact.profile.profile_id for fact in await service.facts(ProfileChanged)}
            assert told_of.isdisjoint((ana, ana_too))
            [fact] = await service.facts(ProfileErased)
            assert (fact.profile_id, list(fact.merged_profile_ids)) == (ana, [ana_too])
            assert fact.operation_id == begun.operation_id
        left = await stored(tmp_path)
        assert not [where for where, body in left.items() if MARK in where + body or "911234567" in where + body]
        assert [
            body for where, body in left.items() if where in (f"profiles: shop/{ana}", f"profiles: shop/{ana_too}")
        ] == [repr({"erased": begun.operation_id})] * 2
        assert [where for where in left if where.startswith("identities")] == ["identities: shop/email:bea@example.com"]


async def test_who_comes_back_is_somebody_new(service: Service) -> None:
    before = (await service.tell("email:ana@example.com", name="Ana")).profile_id
    await service.done(await service.erase(before))
    after = await service.tell("email:ana@example.com")
    assert after.profile_id not in ("", before)
    assert not (await service.profile(after.profile_id)).attributes
    # Who is erased a second time is so by an operation of its own.
    operation = await service.done(await service.erase(after.profile_id))
    request = ops.ListOperationsRequest(workspace_id="shop", page_size=1)
    page = await service.operations.ListOperations(request)
    assert [one.operation_id for one in page.operations] == [operation.operation_id]
    request.page_token = page.next_page_token
    page = await service.operations.ListOperations(request)
    assert ([one.profile_id for one in page.operations], page.next_page_token) == ([before], "")


async def test_a_service_that_is_away_is_waited_for_and_nobody_comes_in_meanwhile(service: Service) -> None:
    profile_id = (await service.tell("email:ana@example.com")).profile_id
    await service.others["segment"].go()
    operation = await service.erase(profile_id)
    held_up = await service.until(operation, lambda now: now.obstacle)
    assert held_up.obstacle.startswith("the segment service: UNAVAILABLE")
    assert [receipt.service for receipt in held_up.receipts] == ["orchestrator"]
    for result in (
        await service.tell("email:ana@example.com", name="Ana"),
        await service.event("e1", "email:ana@example.com"),
        await service.tell("email:ana@example.com", "card:new"),
    ):
        assert result.error.reason == pb.ItemError(reason="REASON_PROFILE_ERASING").reason, result
    assert await refused(service.export(profile_id)) == "PROFILE_ERASING"
    assert await refused(service.link("email:ana@example.com", "card:other")) == "PROFILE_ERASING"
    assert (await service.profile(profile_id)).profile_id == profile_id
    age = service.telemetry.metrics.readings
    [ask] = [ask for metric, ask in age.items() if metric.name == "camino_operation_age_seconds"]
    assert (await ask())[("erase",)] > 0
    await service.others["segment"].come()
    ended = await service.until(operation, lambda now: now.state == OPERATION_STATE_DONE, step=5 * SECOND)
    assert ended.obstacle == ""
    assert service.others.asked == ["orchestrator", "segment", "channels"]
    assert (await ask())[("erase",)] == 0


async def test_what_comes_in_meanwhile_is_refused_or_somebody_newer_s(nats: NatsServer, tmp_path: Path) -> None:
    async with others(tmp_path) as asked:
        async with running(nats, tmp_path, asked) as service:
            ana = (await service.tell("email:ana@example.com")).profile_id
            stopped = asyncio.Event()
            results: list[pb.ItemResult] = []

            async def pour(source: int) -> None:
                for number in count():
                    results.append(await service.event(f"{source}-{number}", "email:ana@example.com"))
                    results.append(await service.tell("email:ana@example.com", f"card:{source}", name=f"{number}"))
                    if stopped.is_set():
                        return

            sources = [asyncio.create_task(pour(source)) for source in range(4)]
            await eventually(lambda: _true(len(results) > 20))
            await service.done(await service.erase(ana))
            back = len(results)
            await eventually(lambda: _true(len(results) > back + 20))
            stopped.set()
            await asyncio.gather(*sources)
            assert {result.error.reason for result in results if result.HasField("error")} == {REASON_PROFILE_ERASING}
            assert ana in {result.profile_id for result in results[:20]}
            assert ana not in {result.profile_id for result in results[-8:]} - {""}
            steps = service.steps()

            async def looked_again() -> bool:
                service.clock.advance(5 * SECOND)
                return service.steps() > steps

            await eventually(looked_again)
        left = await stored(tmp_path)
        assert [where.partition(":")[0] for where, body in left.items() if ana in where + body] == [
            "operations",
            "profiles",
        ]
        assert left[f"profiles: shop/{ana}"].startswith("{'erased': ")


async def _true(so: bool) -> bool:
    return so


async def test_others_listen_to_the_service_by_its_token(nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ours")
    entry = {"token_sha256": digest("ours").hex(), "workspaces": ["*"]}

    def knowing(scopes: list[str]) -> Callers:
        return parse(json.dumps({"callers": [{"name": "profile", "scopes": scopes, **entry}]}).encode())

    async with others(tmp_path) as asked:
        for name, scopes in (("orchestrator", ["personal-data.*"]), ("segment", ["personal-data.read"])):
            await asked[name].go()
            asked[name].callers = knowing(scopes)
            await asked[name].come()
        async with running(nats, tmp_path, asked, token_file=tmp_path / "token") as service:
            operation = await service.erase((await service.tell("email:ana@example.com")).profile_id)
            held_up = await service.until(operation, lambda now: now.obstacle)
            assert held_up.obstacle.startswith("the segment service: PERMISSION_DENIED")
            assert "personal-data.erase" in held_up.obstacle
            await asked["segment"].go()
            asked["segment"].callers = knowing(["personal-data.erase", "personal-data.read"])
            await asked["segment"].come()
            await service.until(operation, lambda now: now.state == OPERATION_STATE_DONE, step=5 * SECOND)


async def test_by_identity_and_nobody(service: Service) -> None:
    profile_id = (await service.tell("email:ana@example.com")).profile_id
    request = ops.EraseProfileRequest(workspace_id="shop")
    request.identity.namespace, request.identity.value = "email", " ANA@example.com"
    operation = (await service.operations.EraseProfile(request)).operation
    assert operation.profile_id == profile_id
    await service.done(operation)
    assert await refused(service.operations.EraseProfile(request)) == "NOT_FOUND"
    assert await refused(service.erase("nobody")) == "NOT_FOUND"
    assert await refused(service.operation("none")) == "NOT_FOUND"


async def test_others_forget_their_links_with_who_was_erased(nats: NatsServer, tmp_path: Path) -> None:
    async with others(tmp_path) as asked:
        async with running(nats, tmp_path, asked) as service:
            # Two people, whose devices were seen with one another's names.
            bea = (await service.tell("user_id:bea", "device:shared")).profile_id
            ana = (await service.tell(f"user_id:{MARK}", f"device:{MARK}-phone")).profile_id
            linked = await service.link(f"device:{MARK}-phone", "user_id:bea")
            assert [identity.value for identity in linked.not_linked] != []
            request = pb.UnlinkIdentityRequest(workspace_id="shop", profile_id=ana)
            await service.tell(f"user_id:{MARK}", f"card:{MARK}-lost")
            request.identity.namespace, request.identity.value = "card", f"{MARK}-lost"
            await service.profiles.UnlinkIdentity(request)
            holder = pb.GetProfileRequest(workspace_id="shop")
            holder.identity.namespace, holder.identity.value = "user_id", MARK
            ana = (await service.profiles.GetProfile(holder)).profile.profile_id
            await service.done(await service.erase(ana))
            graph = await service.profiles.GetIdentityGraph(
                pb.GetIdentityGraphRequest(workspace_id="shop", profile_id=bea)
            )
            assert "user_id" in {identity.namespace for identity in graph.identities}
        left = await stored(tmp_path)
        assert not [where for where, body in left.items() if f"user_id:{MARK}" in where or f"card:{MARK}" in where]
        assert not [where for where, body in left.items() if f"'{MARK}'" in body], left


# --- exporting --------------------------------------------------------------------------------------------------------


async def test_an_export_is_one_document_of_all_that_is_held(service: Service) -> None:
    ana = (await service.tell("email:ana@example.com", name="Ana")).profile_id
    ana_too = (await service.tell("card:2")).profile_id
    await service.event("e0", "card:2")
    await service.link("card:2", "email:ana@example.com")
    for number in range(1, 130):
        assert not (await service.event(f"e{number}", "email:ana@example.com", "ñ" * 2_000)).HasField("error")
    service.others.hold(250)
    operation = await service.export(ana_too)
    assert (operation.profile_id, operation.state) == (ana, OPERATION_STATE_RUNNING)
    ended = await service.done(operation)
    assert ended.expire_time.ToMicroseconds() == ended.end_time.ToMicroseconds() + 7 * DAY
    document, parts = await service.document(ended)
    assert parts >= 3
    assert list(document) == [
        "workspace_id",
        "profile_id",
        "exported_at",
        "profile",
        "orchestrator",
        "segment",
        "channels",
        "profile_service",
    ]
    assert (document["workspace_id"], document["profile_id"]) == ("shop", ana)
    assert document["profile"]["attributes"]["name"]["value"] == {"stringValue": "Ana"}
    assert document["profile"]["mergedProfileIds"] == [ana_too]
    for name in ("orchestrator", "segment", "channels"):
        ids = [decision["decisionId"] for decision in document[name]["decisions"]]
        assert ids == [f"{name}-{number}" for number in range(250)]
    own = document["profile_service"]
    assert {event["eventId"] for event in own["events"]} == {f"e{number}" for number in range(130)}
    assert len(own["events"]) == 130
    assert [len(graph["identities"]) for graph in own["identity_graph"]] == [2]
    assert {next(iter(set(entry) - {"at"})) for entry in own["timeline"]} == {"consent", "identityChange"}
    receipts = {receipt.service: dict(receipt.counts) for receipt in ended.receipts}
    assert receipts["segment"] == {"decisions": 250}
    assert receipts["profile"]["events"] == 130
    # The same request is the same export.
    assert (await service.export(ana)).operation_id == operation.operation_id
    assert (await service.export(ana, "r2")).operation_id != operation.operation_id


async def test_who_has_done_nothing_has_a_whole_document_too(service: Service) -> None:
    ana = (await service.tell("email:ana@example.com")).profile_id
    document, parts = await service.document(await service.done(await service.export(ana)))
    assert parts == 1
    assert document["orchestrator"] == document["segment"] == document["channels"] == {}
    assert set(document["profile_service"]) == {"identity_graph", "timeline"}


async def test_an_export_can_be_read_for_seven_days(service: Service) -> None:
    ana = (await service.tell("email:ana@example.com")).profile_id
    operation = await service.export(ana)
    await service.done(operation)
    service.clock.advance(7 * DAY - 10 * SECOND)
    await service.document(operation)
    service.clock.advance(11 * SECOND)
    assert await refused(service.document(operation)) == "WRONG_STATE"
    await service.until(operation, lambda now: now.state == OPERATION_STATE_EXPIRED)
    assert await refused(service.document(await service.erase(ana))) == "WRONG_STATE"


async def test_an_export_ends_when_the_profile_is_erased(service: Service) -> None:
    ana = (await service.tell("email:ana@example.com")).profile_id
    done = await service.done(await service.export(ana))
    await service.others["channels"].go()
    under_way = await service.export(ana, "r2")
    await service.until(under_way, lambda now: now.obstacle.startswith("the channels service: UNAVAILABLE"))
    assert await refused(service.document(under_way)) == "WRONG_STATE"
    erasure = await service.erase(ana)
    await service.until(under_way, lambda now: now.state == OPERATION_STATE_EXPIRED, step=5 * SECOND)
    await service.others["channels"].come()
    await service.until(erasure, lambda now: now.state == OPERATION_STATE_DONE, step=5 * SECOND)
    assert (await service.operation(done.operation_id)).state == OPERATION_STATE_EXPIRED
    assert await refused(service.document(done)) == "WRONG_STATE"
