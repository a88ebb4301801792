"""What happens to every call before it's answered: who calls, whether they may, whether the request is sound, and what
the test has in mind for it. All of it from the schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from threading import RLock
from typing import Any, NoReturn

import grpc
from camino.testing.fake.callers import Caller, Callers
from camino.testing.fake.items import answer_items
from camino.testing.fake.refusal import Refusal, invalid
from camino.testing.fake.script import Script
from camino.testing.fake.validation import Schema
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message

Answer = Callable[[Any], Any]
"""From a sound request to the reply; of a method that tells, to its responses, with None where there is none by now.
Raises `Refusal`."""

_LOOK_S = 0.01
"""How often it's looked whether there is something to tell."""


class Boundary:
    """Between the wire and the answers, which are given one at a time, under `lock`."""

    def __init__(self, callers: Iterable[Caller], script: Script, lock: RLock) -> None:
        self._callers = Callers(callers)
        self._script = script
        self._lock = lock
        self._schema = Schema()

    def handler(self, rpc: Rpc, answer: Answer) -> grpc.RpcMethodHandler[Message, Message]:
        """The method, as a server takes it."""

        async def call(request: Message, context: grpc.aio.ServicerContext[Message, Message]) -> Message:
            try:
                reply: Message = await self._pass(rpc, answer, request, self._admit(rpc, context))
                return reply
            except Refusal as refusal:
                return await _end(context, refusal)

        async def converse(
            requests: AsyncIterator[Message], context: grpc.aio.ServicerContext[Message, Message]
        ) -> None:
            try:
                caller = self._admit(rpc, context)
                async for request in requests:
                    await context.write(await self._pass(rpc, answer, request, caller))
            except Refusal as refusal:
                await _end(context, refusal)

        async def tell(request: Message, context: grpc.aio.ServicerContext[Message, Message]) -> None:
            try:
                responses = await self._pass(rpc, answer, request, self._admit(rpc, context))
                while True:
                    with self._lock:
                        response = next(responses)
                    if response is None:
                        await asyncio.sleep(_LOOK_S)
                    else:
                        await context.write(response)
            except Refusal as refusal:
                await _end(context, refusal)

        if rpc.telling:
            return grpc.unary_stream_rpc_method_handler(tell, rpc.request.FromString, rpc.reply.SerializeToString)
        if rpc.streaming:
            return grpc.stream_stream_rpc_method_handler(converse, rpc.request.FromString, rpc.reply.SerializeToString)
        return grpc.unary_unary_rpc_method_handler(call, rpc.request.FromString, rpc.reply.SerializeToString)

    def _admit(self, rpc: Rpc, context: grpc.aio.ServicerContext[Message, Message]) -> Caller | None:
        caller = self._callers.caller(context.invocation_metadata() or ())
        if caller:
            caller.check_scope(rpc)
        return caller

    async def _pass(self, rpc: Rpc, answer: Answer, request: Message, caller: Caller | None) -> Any:
        found = self._schema.findings(request, rpc.items_field)
        if found.violations:
            raise invalid(found.violations)
        if caller:
            caller.check_workspace(request)
        failure = await self._script.enter(rpc, request)
        if failure and not failure.done:
            raise failure.refusal
        with self._lock:
            reply = answer_items(rpc, answer, request, found.items) if rpc.items_field else answer(request)
        if failure:
            raise failure.refusal
        return reply


async def _end(context: grpc.aio.ServicerContext[Message, Message], refusal: Refusal) -> NoReturn:
    details = (("grpc-status-details-bin", refusal.status().SerializeToString()),)
    await context.abort(refusal.code, refusal.status().message, trailing_metadata=details)
    raise AssertionError("abort does not return")
