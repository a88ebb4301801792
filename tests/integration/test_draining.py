"""A server that stops: calls under way finish, new ones are refused so that clients go elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from camino.ops.v1 import dead_letter_service_pb2 as wire
from camino.ops.v1 import dead_letter_service_pb2_grpc as wire_grpc

from services.chassis.server import Mounted, Server

SERVICE = "camino.ops.v1.DeadLetterService"
LIST = wire.ListDeadLettersRequest()


class Slow(wire_grpc.DeadLetterServiceServicer):
    """Answers when it's released."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    async def ListDeadLetters(self, request: object, context: object) -> wire.ListDeadLettersResponse:
        self.begun.set()
        await self.released.wait()
        return wire.ListDeadLettersResponse(total_size=1)


@asynccontextmanager
async def serving(slow: Slow) -> AsyncIterator[tuple[Server, str]]:
    server = Server([Mounted(wire_grpc.add_DeadLetterServiceServicer_to_server, slow, SERVICE)])
    port = await server.start("127.0.0.1:0")
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_a_call_under_way_finishes_and_others_are_refused() -> None:
    slow = Slow()
    async with serving(slow) as (server, target), grpc.aio.insecure_channel(target) as over:
        stub = wire_grpc.DeadLetterServiceStub(over)
        under_way = asyncio.ensure_future(stub.ListDeadLetters(LIST, timeout=20))
        await slow.begun.wait()
        slow.begun.clear()
        stopping = asyncio.ensure_future(server.stop(10))
        # What is sent before the client has heard of the end may be cancelled instead.
        await over.wait_for_state_change(grpc.ChannelConnectivity.READY)
        async with grpc.aio.insecure_channel(target) as other:
            for stub_ in (stub, wire_grpc.DeadLetterServiceStub(other)):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub_.ListDeadLetters(LIST, timeout=20)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not slow.begun.is_set()
        slow.released.set()
        assert (await under_way).total_size == 1
        await stopping


async def test_a_call_that_takes_longer_than_the_grace_is_ended() -> None:
    slow = Slow()
    async with serving(slow) as (server, target), grpc.aio.insecure_channel(target) as over:
        under_way = asyncio.ensure_future(wire_grpc.DeadLetterServiceStub(over).ListDeadLetters(LIST, timeout=20))
        await slow.begun.wait()
        await server.stop(0.05)
        with pytest.raises(grpc.aio.AioRpcError):
            await under_way
