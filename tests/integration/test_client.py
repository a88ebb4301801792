"""The Python client against the profile service as it runs, and against one that misbehaves as it's told."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.client import CaminoError, Client, Pace, connect, pages, raise_failed_items
from camino.client import sync as blocking
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2 as wire
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.profile.v1.profile_service_pb2_grpc import (
    ProfileServiceServicer,
    ProfileServiceStub,
    add_ProfileServiceServicer_to_server,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.broker import Broker
from services.chassis.clients import ask, open_channel
from services.chassis.errors import Unavailable
from services.chassis.loops import Running
from services.chassis.server import Server
from services.chassis.testing import FakeClock, eventually
from services.profile.app import ProfileConfig, build
from tests.servers import NatsServer, nats_server

OK, DUPLICATE = wire.ITEM_OUTCOME_OK, wire.ITEM_OUTCOME_DUPLICATE
NOBODY = wire.GetProfileRequest(workspace_id="shop", profile_id="nobody")


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@asynccontextmanager
async def profile_service(nats: NatsServer, directory: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """The real one; where it listens. It ends without grace, as in a crash."""
    config = ProfileConfig(nats_url=nats.url, data_dir=directory, partitions=4, migrate_on_start=True)
    async with build(config, FakeClock()) as app:
        server = Server(app.mounted)
        port = await server.start(listen)
        running = Running(app.loops)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)
            await running.stop(5)


class Restartable:
    """The real service, to be stopped in the middle and started again at the same address."""

    def __init__(self, nats: NatsServer, directory: Path) -> None:
        self._nats = nats
        self._directory = directory
        self.target = "127.0.0.1:0"

    async def __aenter__(self) -> Restartable:
        self._running = profile_service(self._nats, self._directory, self.target)
        self.target = await self._running.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.__aexit__(None, None, None)

    async def restart(self) -> None:
        await self.__aexit__()
        await self.__aenter__()


class Scripted(ProfileServiceServicer):
    """Fails as often as it's told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = 0
        self.away_with = grpc.StatusCode.UNAVAILABLE
        self.contended: Counter[str] = Counter()
        self.batches: list[list[str]] = []
        self.tokens: list[str | bytes | None] = []
        self.silent = False
        self.given_up = asyncio.Event()

    async def GetProfile(self, request: wire.GetProfileRequest, context: Any) -> wire.GetProfileResponse:
        await self._hear(context)
        return wire.GetProfileResponse()

    async def IngestEvents(self, request: wire.IngestEventsRequest, context: Any) -> wire.IngestEventsResponse:
        self.batches.append([event.event_id for event in request.events])
        await self._hear(context)
        reply = wire.IngestEventsResponse()
        for event in request.events:
            result = reply.results.add(outcome=OK, profile_id=event.identity.value)
            if self.contended[event.event_id]:
                self.contended[event.event_id] -= 1
                result.outcome = wire.ITEM_OUTCOME_FAILED
                result.error.reason, result.error.message = reason_pb2.REASON_CONTENTION, "again, please"
        return reply

    async def _hear(self, context: Any) -> None:
        self.asked += 1
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        if self.silent:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up.set()
        if self.away:
            self.away -= 1
            await context.abort(self.away_with, "away")


class NeverWell(health_pb2_grpc.HealthServicer):
    """A method whose schema doesn't say that it may be repeated."""

    def __init__(self) -> None:
        self.asked = 0

    async def Check(self, request: Any, context: Any) -> Any:
        self.asked += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "away")


@asynccontextmanager
async def scripted(
    *servicers: Scripted, health: NeverWell | None = None, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serve each on an address of its own; the target that names all of them."""
    servers = []
    for servicer in servicers:
        server = grpc.aio.server()
        add_ProfileServiceServicer_to_server(servicer, server)
        if health:
            health_pb2_grpc.add_HealthServicer_to_server(health, server)
        if credentials:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append((server, port))
    try:
        yield "ipv4:" + ",".join(f"127.0.0.1:{port}" for _, port in servers)
    finally:
        for server, _ in servers:
            await server.stop(0)


def event(id_: str, whose: str) -> wire.EventInput:
    input = wire.EventInput(event_id=id_, type="click")
    input.identity.namespace, input.identity.value = "user", whose
    return input


def profile(whose: str) -> wire.ProfileInput:
    input = wire.ProfileInput()
    input.identities.add(namespace="user", value=whose)
    return input


async def everything(client: Client) -> list[str]:
    """The ids of all events of all profiles, each as often as it's there."""
    found = []
    async for person in pages(client.profiles.ListProfiles, wire.ListProfilesRequest(workspace_id="shop")):
        request = wire.ListEventsRequest(workspace_id="shop", profile_id=person.profile_id, page_size=1000)
        async for happened in pages(client.profiles.ListEvents, request):
            found.append(happened.event_id)
    return found


async def test_what_is_sent_is_there_and_is_listed_page_by_page(nats: NatsServer, tmp_path: Path):
    async with profile_service(nats, tmp_path) as target, connect(profile=target) as client:
        request = wire.IngestProfilesRequest(workspace_id="shop", profiles=[profile(f"u{n}") for n in range(25)])
        reply = await client.profiles.IngestProfiles(request)
        raise_failed_items(request, reply)
        asked = wire.ListProfilesRequest(workspace_id="shop", page_size=10)
        found = [person.profile_id async for person in pages(client.profiles.ListProfiles, asked)]
        assert found == sorted(result.profile_id for result in reply.results)

        def without_a_loop() -> list[str]:
            with blocking.connect(profile=target) as other:
                return [person.profile_id for person in blocking.pages(other.profiles.ListProfiles, asked)]

        assert await asyncio.to_thread(without_a_loop) == found


async def test_a_failed_call_raises_the_reason_in_both_flavours(nats: NatsServer, tmp_path: Path):
    async with profile_service(nats, tmp_path) as target, connect(profile=target) as client:
        with pytest.raises(CaminoError) as raised:
            await client.profiles.GetProfile(NOBODY)
        with pytest.raises(CaminoError) as invalid:
            await client.profiles.ListProfiles(wire.ListProfilesRequest(workspace_id="shop", page_size=1001))

        def without_a_loop() -> CaminoError:
            with blocking.connect(profile=target) as other, pytest.raises(CaminoError) as raised:
                other.profiles.GetProfile(NOBODY)
            return raised.value

        for error in (raised.value, await asyncio.to_thread(without_a_loop)):
            assert (error.status, error.reason) == (grpc.StatusCode.NOT_FOUND, reason_pb2.REASON_NOT_FOUND)
            assert error.metadata == {"resource": "profile", "name": "nobody"}
            assert not error.retryable
        assert [violation.field for violation in invalid.value.violations] == ["page_size"]
        assert str(invalid.value).startswith("INVALID_ARGUMENT (INVALID_FIELD): page_size: ")


async def test_a_good_call_still_tells_its_metadata(nats: NatsServer, tmp_path: Path):
    async with profile_service(nats, tmp_path) as target, connect(profile=target) as client:
        call = client.profiles.ListProfiles(wire.ListProfilesRequest(workspace_id="shop"))
        assert (await call).total_size == 0
        assert await call.code() is grpc.StatusCode.OK
        failing = client.profiles.GetProfile(NOBODY)
        assert await failing.code() is grpc.StatusCode.NOT_FOUND


async def test_what_may_be_repeated_is_tried_again_when_nobody_answers():
    servicer, health = Scripted(), NeverWell()
    async with scripted(servicer, health=health) as target, connect(profile=target) as client:
        servicer.away = 3
        await client.profiles.GetProfile(NOBODY)
        assert servicer.asked == 4
        # As a server says that is stopping.
        servicer.away, servicer.away_with = 3, grpc.StatusCode.CANCELLED
        await client.profiles.GetProfile(NOBODY)
        assert servicer.asked == 8
        servicer.away, servicer.away_with, servicer.asked = 100, grpc.StatusCode.UNAVAILABLE, 4
        with pytest.raises(CaminoError, match="UNAVAILABLE: away"):
            await client.profiles.GetProfile(NOBODY)
        assert servicer.asked == 8
        with pytest.raises(CaminoError, match="UNAVAILABLE: away"):
            await health_pb2_grpc.HealthStub(client.channel("profile")).Check(health_pb2.HealthCheckRequest())
        assert health.asked == 1


async def test_a_service_in_trouble_is_not_given_more_of_it():
    servicer = Scripted()
    servicer.away = 1_000
    async with scripted(servicer) as target, connect(profile=target) as client:
        calls = [client.profiles.GetProfile(NOBODY) for _ in range(60)]
        assert all(isinstance(error, CaminoError) for error in await asyncio.gather(*calls, return_exceptions=True))
        before = servicer.asked
        assert before < 4 * 60
        with pytest.raises(CaminoError):
            await client.profiles.GetProfile(NOBODY)
        assert servicer.asked == before + 1


async def test_every_call_has_a_deadline_of_its_own_or_the_clients():
    servicer = Scripted()
    servicer.silent = True
    async with scripted(servicer) as target, connect(profile=target, timeout_s=0.05) as client:
        with pytest.raises(CaminoError) as raised:
            await asyncio.wait_for(client.profiles.GetProfile(NOBODY), 5)
        assert raised.value.status is grpc.StatusCode.DEADLINE_EXCEEDED

        def without_a_loop() -> grpc.StatusCode:
            with blocking.connect(profile=target) as other, pytest.raises(CaminoError) as raised:
                other.profiles.GetProfile(NOBODY, timeout=0.05)
            return raised.value.status

        assert await asyncio.to_thread(without_a_loop) is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_that_is_given_up_is_given_up_on_the_other_side_too():
    servicer = Scripted()
    servicer.silent = True
    async with scripted(servicer) as target, connect(profile=target) as client:

        async def asked() -> bool:
            return servicer.asked == 1

        call = asyncio.ensure_future(client.profiles.GetProfile(NOBODY))
        await eventually(asked)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(servicer.given_up.wait(), 5)


async def test_calls_go_round_robin():
    one, two = Scripted(), Scripted()
    async with scripted(one, two) as target, connect(profile=target) as client:

        async def both_asked() -> bool:
            await client.profiles.GetProfile(NOBODY)
            return bool(one.asked and two.asked)

        await eventually(both_asked)
        before = one.asked
        for _ in range(10):
            await client.profiles.GetProfile(NOBODY)
        assert one.asked - before == 5


async def test_the_token_goes_with_every_call_and_is_read_again(tmp_path: Path):
    servicer = Scripted()
    file = tmp_path / "token"
    file.write_text("old")
    async with scripted(servicer) as target, connect(profile=target, token=file) as client:
        await client.profiles.GetProfile(NOBODY, metadata=(("x", "1"),))
        (tmp_path / "next").write_text("new\n")
        (tmp_path / "next").replace(file)
        await client.profiles.GetProfile(NOBODY)

        def without_a_loop() -> None:
            with blocking.connect(profile=target, token="given") as other:
                other.profiles.GetProfile(NOBODY)

        await asyncio.to_thread(without_a_loop)
    assert servicer.tokens == ["Bearer old", "Bearer new", "Bearer given"]


async def test_services_say_who_they_are_to_each_other(tmp_path: Path):
    servicer = Scripted()
    (tmp_path / "token").write_text("orchestrator")
    async with scripted(servicer) as target, open_channel(target, token_file=tmp_path / "token") as channel:
        await ask(ProfileServiceStub(channel).GetProfile(NOBODY))
        servicer.away = 4
        with pytest.raises(Unavailable, match="another service: UNAVAILABLE: away"):
            await ask(ProfileServiceStub(channel).GetProfile(NOBODY))
    assert set(servicer.tokens) == {"Bearer orchestrator"}


async def test_credentials_secure_the_channel():
    """`local` ones: they check that the peer is on this machine, and need no certificate."""
    servicer = Scripted()
    async with scripted(servicer, credentials=grpc.local_server_credentials()) as target:
        async with connect(profile=target, credentials=grpc.local_channel_credentials()) as client:
            await client.profiles.GetProfile(NOBODY)

        def without_a_loop() -> None:
            with blocking.connect(profile=target, credentials=grpc.local_channel_credentials()) as other:
                other.profiles.GetProfile(NOBODY)

        await asyncio.to_thread(without_a_loop)
    assert servicer.asked == 2


async def test_a_client_that_is_closed_opens_nothing_more():
    async with scripted(Scripted()) as target:
        async with connect(profile=target) as client:
            await client.profiles.GetProfile(NOBODY)
        with pytest.raises(RuntimeError, match="the client is closed"):
            client.segments  # noqa: B018


async def test_ingestion_takes_profiles_and_events_in_the_order_of_each_person(nats: NatsServer, tmp_path: Path):
    people = [f"u{number}" for number in range(5)]
    sent: dict[str, list[str]] = defaultdict(list)
    broker = await Broker.connect(nats.url, "test")
    async with profile_service(nats, tmp_path) as target, connect(profile=target) as client:
        began = (await broker.jetstream.stream_info("CAMINO_PROFILE")).state.last_seq
        async with client.ingestion("shop", Pace(batch_items=7, linger_s=0)) as ingestion:
            owners = {person: await ingestion.profile(profile(person)) for person in people}
            for number in range(300):
                person = people[number * number % 5]
                await ingestion.event(event(f"e{number}", person))
                sent[person].append(f"e{number}")
        ids = {(await receipt).profile_id: person for person, receipt in owners.items()}
        published: dict[str, list[str]] = defaultdict(list)

        async def all_published() -> bool:
            state = (await broker.jetstream.stream_info("CAMINO_PROFILE")).state
            published.clear()
            for sequence in range(began + 1, state.last_seq + 1):
                message = await broker.jetstream.get_msg("CAMINO_PROFILE", sequence)
                change = ProfileChanged.FromString(message.data or b"")
                if change.HasField("event"):
                    published[ids[change.profile.profile_id]].append(change.event.event_id)
            return sum(map(len, published.values())) == 300

        await eventually(all_published)
        assert published == sent
    await broker.close()


async def test_ingestion_waits_for_a_service_that_is_away(nats: NatsServer, tmp_path: Path):
    async with profile_service(nats, tmp_path) as target:
        pass
    async with connect(profile=target) as client, client.ingestion("shop", Pace(batch_items=10)) as ingestion:
        receipts = [await ingestion.event(event(f"e{number}", f"u{number}")) for number in range(50)]
        with pytest.raises(CaminoError) as raised:
            await client.profiles.GetProfile(NOBODY)
        assert raised.value.status is grpc.StatusCode.UNAVAILABLE
        async with profile_service(nats, tmp_path, listen=target):
            results = await asyncio.gather(*receipts)
            assert {result.outcome for result in results} == {OK}
            assert sorted(await everything(client)) == sorted(f"e{number}" for number in range(50))


async def test_nothing_is_lost_or_taken_twice_when_the_service_dies_on_the_way(nats: NatsServer, tmp_path: Path):
    ids = [f"e{number}" for number in range(2_000)]
    async with Restartable(nats, tmp_path) as service, connect(profile=service.target) as client:
        async with client.ingestion("shop", Pace(batch_items=50)) as ingestion:
            receipts = [await ingestion.event(event(id_, f"u{id_[-1]}")) for id_ in ids]
            await receipts[0]
            await service.restart()
            assert not all(receipt.done() for receipt in receipts)
            results = await asyncio.gather(*receipts)
        assert {result.outcome for result in results} <= {OK, DUPLICATE}
        assert sorted(await everything(client)) == sorted(ids)


async def test_an_item_under_contention_is_sent_again_alone():
    servicer = Scripted()
    servicer.contended["b"] = 2
    async with scripted(servicer) as target, connect(profile=target) as client, client.ingestion("shop") as ingestion:
        receipts = [await ingestion.event(event(id_, id_)) for id_ in "abc"]
        assert [(await receipt).profile_id for receipt in receipts] == ["a", "b", "c"]
    assert servicer.batches == [["a", "b", "c"], ["b"], ["b"]]
