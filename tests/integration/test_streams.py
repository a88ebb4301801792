"""`StreamEvents` and `StreamProfiles` of the profile service as it runs, and the client that sends over them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.client import CaminoError, Client, ItemFailed, Pace, connect, pages
from camino.client import sync as blocking
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2 as wire

from cli.stack import SERVICES, Stack
from services.chassis.loops import Running
from services.chassis.server import Server
from services.chassis.streams import StreamLimits
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually
from services.profile.app import ProfileConfig, build
from tests.servers import NatsServer, nats_server

OK, DUPLICATE = wire.ITEM_OUTCOME_OK, wire.ITEM_OUTCOME_DUPLICATE
ENDED_WHILE_WRITTEN_TO = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
"""What `grpc.aio` says of a stream that ended with UNAVAILABLE: when it's being written to, that may be INTERNAL."""


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


class Service:
    """The real one; it ends without grace, as in a crash, and can be started again where it was."""

    def __init__(self, nats: NatsServer, directory: Path, limits: StreamLimits = StreamLimits()) -> None:  # noqa: B008
        self._config = ProfileConfig(nats_url=nats.url, data_dir=directory, partitions=4, migrate_on_start=True)
        self._limits = limits
        self.target = "127.0.0.1:0"
        self.telemetry = Telemetry()

    async def __aenter__(self) -> Service:
        self._running = self._serve()
        self.target = await self._running.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.__aexit__(None, None, None)

    async def restart(self) -> None:
        await self.__aexit__()
        await self.__aenter__()

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[str]:
        self.telemetry = Telemetry()
        async with build(self._config, FakeClock(), telemetry=self.telemetry) as app:
            server = Server(app.mounted, telemetry=self.telemetry, streams=self._limits)
            port = await server.start(self.target)
            running = Running(app.loops)
            try:
                yield f"127.0.0.1:{port}"
            finally:
                await server.stop(0)
                await running.stop(5)

    def number(self, name: str, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(name, labels) or 0


def event(id_: str, whose: str = "ana") -> wire.EventInput:
    input = wire.EventInput(event_id=id_, type="click")
    input.identity.namespace, input.identity.value = "user", whose
    return input


def request(sequence: int, *ids: str) -> wire.StreamEventsRequest:
    return wire.StreamEventsRequest(workspace_id="shop", sequence=sequence, events=[event(id_) for id_ in ids])


async def everything(client: Client) -> Counter[str]:
    """The ids of all events of all profiles, each as often as it's there."""
    found = Counter[str]()
    async for person in pages(client.profiles.ListProfiles, wire.ListProfilesRequest(workspace_id="shop")):
        asked = wire.ListEventsRequest(workspace_id="shop", profile_id=person.profile_id, page_size=1000)
        async for happened in pages(client.profiles.ListEvents, asked):
            found[happened.event_id] += 1
    return found


async def test_a_stream_of_single_items_becomes_batches(nats: NatsServer, tmp_path: Path) -> None:
    async with Service(nats, tmp_path) as service, connect(profile=service.target) as client:
        await client.profiles.IngestEvents(wire.IngestEventsRequest(workspace_id="shop", events=[event("first")]))
        labels = {"collection": "events", "operation": "put"}
        before = service.number("camino_store_duration_seconds_count", **labels)

        async def requests() -> AsyncIterator[wire.StreamEventsRequest]:
            for number in range(400):
                yield request(number, f"e{number}")

        answered = [reply async for reply in client.profiles.StreamEvents(requests())]
        assert [reply.sequence for reply in answered] == list(range(400))
        assert {result.outcome for reply in answered for result in reply.results} == {OK}
        assert service.number("camino_store_duration_seconds_count", **labels) - before <= 300
        assert await everything(client) == Counter(["first", *(f"e{number}" for number in range(400))])


async def test_items_are_answered_as_by_the_unary_method(nats: NatsServer, tmp_path: Path) -> None:
    async with Service(nats, tmp_path) as service, connect(profile=service.target) as client:
        call = client.profiles.StreamEvents()
        await call.write(request(1, "a", "b"))
        await call.write(request(2, "b", "c"))
        broken = request(3, "d", "e")
        broken.events[0].type = "not a type"
        await call.write(broken)
        nobody = wire.StreamEventsRequest(workspace_id="shop", sequence=4)
        nobody.events.add(event_id="f", type="click", profile_id="nobody")
        await call.write(nobody)
        await call.done_writing()
        replies = [reply async for reply in call]
        assert [reply.sequence for reply in replies] == [1, 2, 3, 4]
        outcomes = [[result.outcome for result in reply.results] for reply in replies[:2]]
        assert outcomes == [[OK, OK], [DUPLICATE, OK]]
        invalid, fine = replies[2].results
        assert (invalid.error.reason, invalid.error.field) == (reason_pb2.REASON_INVALID_FIELD, "type")
        assert fine.outcome == OK
        [missing] = replies[3].results
        assert missing.error.reason == reason_pb2.REASON_NOT_FOUND


async def test_profiles_go_over_a_stream_of_their_own(nats: NatsServer, tmp_path: Path) -> None:
    async with Service(nats, tmp_path) as service, connect(profile=service.target) as client:
        asked = wire.StreamProfilesRequest(workspace_id="shop", sequence=-5)
        asked.profiles.add().identities.add(namespace="user", value="ana")
        asked.profiles.add()

        async def once() -> AsyncIterator[wire.StreamProfilesRequest]:
            yield asked

        [reply] = [reply async for reply in client.profiles.StreamProfiles(once())]
        assert reply.sequence == -5
        assert [result.outcome for result in reply.results] == [OK, wire.ITEM_OUTCOME_FAILED]
        assert reply.results[1].error.field == "identities"


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "by calls"])
async def test_nothing_is_lost_or_taken_twice_when_the_service_dies_on_the_way(
    nats: NatsServer, tmp_path: Path, streamed: bool
) -> None:
    ids = [f"e{number}" for number in range(2_000)]
    async with Service(nats, tmp_path) as service, connect(profile=service.target) as client:
        async with client.ingestion("shop", Pace(batch_items=50), streamed=streamed) as ingestion:
            receipts = [await ingestion.event(event(id_, f"u{id_[-1]}")) for id_ in ids]
            await receipts[0]
            await service.restart()
            assert not all(receipt.done() for receipt in receipts)
            results = await asyncio.gather(*receipts)
        assert {result.outcome for result in results} <= {OK, DUPLICATE}
        assert await everything(client) == Counter(ids)


async def test_a_stream_that_has_lasted_long_enough_is_followed_by_another(nats: NatsServer, tmp_path: Path) -> None:
    limits = StreamLimits(life_s=0.05, look_s=0.01)
    ids = [f"e{number}" for number in range(150)]
    async with Service(nats, tmp_path, limits) as service, connect(profile=service.target) as client:
        async with client.ingestion("shop", Pace(batch_items=1, linger_s=0), streamed=True) as ingestion:
            receipts = [await ingestion.event(event(id_, f"u{id_}")) for id_ in ids]
            results = await asyncio.gather(*receipts)
        assert {result.outcome for result in results} <= {OK, DUPLICATE}
        assert await everything(client) == Counter(ids)
        # Those that were asked twice had lost their answer with the stream.
        answered = service.number(
            "camino_rpc_duration_seconds_count", method="camino.profile.v1.ProfileService/StreamEvents", status="OK"
        )
        assert answered >= len(ids)


async def test_without_an_event_loop_nothing_is_lost_when_the_service_dies(nats: NatsServer, tmp_path: Path) -> None:
    ids = [f"e{number}" for number in range(1_000)]
    loop = asyncio.get_running_loop()
    async with Service(nats, tmp_path) as service, connect(profile=service.target) as client:

        def events() -> Iterator[wire.EventInput]:
            for number, id_ in enumerate(ids):
                if number == 500:
                    asyncio.run_coroutine_threadsafe(service.restart(), loop).result(20)
                yield event(id_, f"u{id_[-1]}") if number != 700 else wire.EventInput(event_id="broken")

        def without_a_loop() -> list[Any]:
            with blocking.connect(profile=service.target) as other:
                return list(other.send_events("shop", events(), Pace(batch_items=20)))

        outcomes = await asyncio.to_thread(without_a_loop)
        refused = outcomes.pop(700)
        assert isinstance(refused, ItemFailed)
        assert (refused.index, refused.item.event_id) == (700, "broken")
        assert {outcome.outcome for outcome in outcomes} <= {OK, DUPLICATE}
        assert len(outcomes) == 999
        assert await everything(client) == Counter([id_ for id_ in ids if id_ != "e700"])


async def test_without_an_event_loop_profiles_are_sent_too(nats: NatsServer, tmp_path: Path) -> None:
    async with Service(nats, tmp_path) as service:

        def without_a_loop() -> list[Any]:
            people = [wire.ProfileInput() for _ in range(30)]
            for number, person in enumerate(people):
                person.identities.add(namespace="user", value=f"u{number}")
            with blocking.connect(profile=service.target) as other:
                assert list(other.send_profiles("shop", [])) == []
                return list(other.send_profiles("shop", people, Pace(batch_items=7)))

        outcomes = await asyncio.to_thread(without_a_loop)
        assert len({outcome.profile_id for outcome in outcomes}) == 30


async def test_a_service_that_is_asked_to_end_answers_what_it_has_read(nats: NatsServer, tmp_path: Path) -> None:
    """The answers are those of the first requests, and all that was answered is there afterwards."""
    stack = Stack(tmp_path, dict.fromkeys(SERVICES, 0), {"profile": {}}, nats_url=nats.url)
    stack.prepare()
    try:
        stack.start_one("profile")
        async with connect(profile=stack.target("profile")) as client:
            # The first call waits for it to be ready.
            await _first_call(client)
            call, idle = client.profiles.StreamEvents(), client.profiles.StreamEvents()
            sent, answered = 0, list[int]()

            async def write() -> None:
                nonlocal sent
                with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    while True:
                        await call.write(request(sent, f"e{sent}"))
                        sent += 1

            async def read(count: int) -> None:
                """So many answers, or all there are: then it raises what the stream ends with."""
                while len(answered) < count:
                    answered.append((await call.read()).sequence)

            writing = asyncio.create_task(write())
            await read(50)
            stopping = asyncio.create_task(asyncio.to_thread(stack.stop_one, "profile"))
            with pytest.raises(grpc.aio.AioRpcError):
                await read(1_000_000)
            assert await call.code() in ENDED_WHILE_WRITTEN_TO
            assert await idle.code() is grpc.StatusCode.UNAVAILABLE
            assert await stopping == 0
            await writing
            assert answered == list(range(len(answered)))
            assert sent >= len(answered) >= 50
            stack.start_one("profile")
            await _first_call(client)
            there = await everything(client)
            assert {f"e{number}" for number in answered} <= there.keys()
            assert set(there.values()) == {1}
    finally:
        stack.stop()


async def _first_call(client: Client) -> None:
    async def answered() -> bool:
        with suppress(CaminoError):
            await client.profiles.ListProfiles(wire.ListProfilesRequest(workspace_id="shop"))
            return True
        return False

    await eventually(answered, within_s=30)
