"""The client that sends over streams, against a service that misbehaves as it's told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from camino.client import CaminoError, Pace, connect
from camino.client import sync as blocking
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2 as wire
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceServicer, add_ProfileServiceServicer_to_server

OK = wire.ITEM_OUTCOME_OK


def event(id_: str, whose: str = "ana") -> wire.EventInput:
    input = wire.EventInput(event_id=id_, type="click")
    input.identity.namespace, input.identity.value = "user", whose
    return input


class Scripted(ProfileServiceServicer):  # type: ignore[misc]
    """Answers as it's told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.streams = 0
        self.tokens: list[Any] = []
        self.ends: list[grpc.StatusCode] = []
        """How the next streams end, each before its first answer."""
        self.refuses = ""
        """The event that ends each stream it comes over."""
        self.answers_wrong = False
        self.contended: Counter[str] = Counter()
        self.silent = False
        self.given_up = asyncio.Event()

    async def StreamEvents(self, requests: Any, context: Any) -> None:
        self.streams += 1
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        async for request in requests:
            self.asked.append([event.event_id for event in request.events])
            if self.silent:
                try:
                    await asyncio.Event().wait()
                finally:
                    self.given_up.set()
            if self.asked[-1] == [self.refuses]:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "as told")
            if self.ends:
                await context.abort(self.ends.pop(0), "as told")
            reply = wire.StreamEventsResponse(sequence=request.sequence + self.answers_wrong)
            self._fill(reply, request.events)
            await context.write(reply)

    async def IngestEvents(self, request: wire.IngestEventsRequest, context: Any) -> wire.IngestEventsResponse:
        self.asked.append([event.event_id for event in request.events])
        reply = wire.IngestEventsResponse()
        self._fill(reply, request.events)
        return reply

    def _fill(self, reply: Any, events: Any) -> None:
        for event in events:
            result = reply.results.add(outcome=OK, profile_id=event.identity.value)
            if self.contended[event.event_id]:
                self.contended[event.event_id] -= 1
                result.outcome = wire.ITEM_OUTCOME_FAILED
                result.error.reason, result.error.message = reason_pb2.REASON_CONTENTION, "again, please"


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, str]]:
    servicer, server = Scripted(), grpc.aio.server()
    add_ProfileServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


ONE = Pace(batch_items=1, linger_s=0)


async def test_one_stream_serves_a_whole_ingestion_and_carries_the_token(scripted: tuple[Scripted, str]) -> None:
    servicer, target = scripted
    async with connect(profile=target, token="mine") as client:
        async with client.ingestion("shop", ONE, streamed=True) as ingestion:
            for number in range(20):
                await ingestion.event(event(f"e{number}", f"u{number}"))
        assert servicer.streams == 1
        assert servicer.tokens == ["Bearer mine"]
        assert sorted(servicer.asked) == sorted([f"e{number}"] for number in range(20))


async def test_what_ended_for_one_request_is_no_fault_of_the_others(scripted: tuple[Scripted, str]) -> None:
    servicer, target = scripted
    servicer.refuses = "e0"
    async with connect(profile=target) as client, client.ingestion("shop", ONE, streamed=True) as ingestion:
        receipts = [await ingestion.event(event(f"e{number}", f"u{number}")) for number in range(4)]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        assert isinstance(results[0], CaminoError)
        assert results[0].status is grpc.StatusCode.INVALID_ARGUMENT
        assert [getattr(result, "profile_id", result) for result in results[1:]] == ["u1", "u2", "u3"]


async def test_what_has_no_answer_in_time_is_given_up_and_sent_again(scripted: tuple[Scripted, str]) -> None:
    servicer, target = scripted
    servicer.silent = True
    async with (
        connect(profile=target, timeout_s=0.2) as client,
        client.ingestion("shop", ONE, streamed=True) as ingestion,
    ):
        receipt = await ingestion.event(event("e1"))
        await asyncio.wait_for(servicer.given_up.wait(), 5)
        servicer.silent = False
        assert (await receipt).outcome == OK
    assert servicer.asked[0] == servicer.asked[-1] == ["e1"]


async def test_an_answer_to_another_request_is_none(scripted: tuple[Scripted, str]) -> None:
    servicer, target = scripted
    servicer.answers_wrong = True
    async with connect(profile=target) as client, client.ingestion("shop", ONE, streamed=True) as ingestion:
        with pytest.raises(RuntimeError, match="answer 2 to request 1"):
            await (await ingestion.event(event("e1")))


async def test_without_an_event_loop_what_fails_in_passing_is_sent_again(scripted: tuple[Scripted, str]) -> None:
    servicer, target = scripted
    servicer.ends = [grpc.StatusCode.UNAVAILABLE] * 5
    servicer.contended["e4"] = 2

    def without_a_loop() -> list[Any]:
        with blocking.connect(profile=target) as other:
            return list(other.send_events("shop", (event(f"e{n}", f"u{n}") for n in range(10)), Pace(batch_items=3)))

    outcomes = await asyncio.to_thread(without_a_loop)
    assert [outcome.profile_id for outcome in outcomes] == [f"u{number}" for number in range(10)]
    assert servicer.asked.count(["e4"]) == 2


async def test_without_an_event_loop_what_does_not_pass_is_raised(scripted: tuple[Scripted, str]) -> None:
    servicer, target = scripted
    servicer.ends = [grpc.StatusCode.PERMISSION_DENIED]

    def without_a_loop() -> CaminoError:
        with blocking.connect(profile=target) as other, pytest.raises(CaminoError) as raised:
            list(other.send_events("shop", [event("e1")]))
        return raised.value

    assert (await asyncio.to_thread(without_a_loop)).status is grpc.StatusCode.PERMISSION_DENIED


async def test_without_an_event_loop_a_service_that_is_silent_is_given_up(scripted: tuple[Scripted, str]) -> None:
    servicer, target = scripted
    servicer.silent = True

    def without_a_loop() -> CaminoError:
        with blocking.connect(profile=target, timeout_s=0.1) as other, pytest.raises(CaminoError) as raised:
            list(other.send_events("shop", [event("e1")], Pace(give_up_s=0)))
        return raised.value

    assert (await asyncio.to_thread(without_a_loop)).status is grpc.StatusCode.DEADLINE_EXCEEDED
