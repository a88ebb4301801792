"""Calls that were made of a real Camino once, replayed ever after.

A recording is a file of JSON lines, one for each call, and for each request of a stream: `method`, `request`, and
`reply` or `status` (google.rpc.Status with its details). It holds what was sent, personal data included, but no token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import grpc
from camino.testing.fake.methods import method
from camino.testing.fake.refusal import cut
from camino.testing.rpcs import Rpc, rpcs
from camino.testing.serving import OPTIONS, Handlers, Served
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # noqa: F401 - statuses are told with what their details are

_DETAILS = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Recorder(Served):
    """Stands before Camino: passes each call on, and writes down what Camino answered. What it didn't answer, as when a
    connection breaks, isn't written down."""

    def __init__(
        self,
        path: Path,
        targets: str | Mapping[str, str],
        *,
        credentials: grpc.ChannelCredentials | None = None,
        listen: str = "127.0.0.1:0",
    ) -> None:
        """`path`: the recording, which is begun anew. `targets`: where Camino is: one address of all services, or each
        one's by its name, such as `profile`; what isn't named isn't served. `credentials`: for TLS, by default
        plaintext."""
        super().__init__(listen)
        self._path = path
        self._targets = targets
        self._credentials = credentials

    async def handlers(self, exits: AsyncExitStack) -> Handlers:
        file = exits.enter_context(self._path.open("w"))
        channels: dict[str, grpc.aio.Channel] = {}
        handlers = {}
        for rpc in rpcs():
            target = self._target_of(rpc)
            if target and target not in channels:
                channels[target] = await exits.enter_async_context(self._channel(target))
            if target:
                handlers[rpc] = _forwarding(channels[target], file, rpc)
        return handlers

    def _target_of(self, rpc: Rpc) -> str:
        _, service, *_ = rpc.service.split(".")
        return self._targets if isinstance(self._targets, str) else self._targets.get(service, "")

    def _channel(self, target: str) -> grpc.aio.Channel:
        if self._credentials:
            return grpc.aio.secure_channel(target, self._credentials, options=OPTIONS)
        return grpc.aio.insecure_channel(target, options=OPTIONS)


class Replay(Served):
    """Answers as was recorded. Of a request that was recorded several times, one answer after the other, and the last
    one from then on. What wasn't recorded fails with UNIMPLEMENTED, and is told what was that comes nearest."""

    def __init__(self, path: Path, *, listen: str = "127.0.0.1:0") -> None:
        """Raises OSError and ValueError for a recording that can't be read."""
        super().__init__(listen)
        self._answers: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for line in path.read_text().splitlines():
            call = json.loads(line)
            request = ParseDict(call["request"], method(call["method"]).request())
            self._answers[call["method"], _text(request)].append(call)

    async def handlers(self, exits: AsyncExitStack) -> Handlers:
        return {rpc: self._replaying(rpc) for rpc in rpcs()}

    def _replaying(self, rpc: Rpc) -> grpc.RpcMethodHandler[Message, Message]:
        async def converse(requests: AsyncIterator[Message], context: Any) -> None:
            async for request in requests:
                await context.write(await self._answer(rpc, request, context))

        return _handler(rpc, partial(self._answer, rpc), converse)

    async def _answer(self, rpc: Rpc, request: Message, context: Any) -> Message:
        answers = self._answers.get((_name(rpc), _text(request)))
        if answers is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, cut(self._unknown(rpc, request)))
        assert answers
        call = answers.pop(0) if len(answers) > 1 else answers[0]
        if "status" in call:
            await _fail(context, ParseDict(call["status"], status_pb2.Status()))
        return ParseDict(call["reply"], rpc.reply())

    def _unknown(self, rpc: Rpc, request: Message) -> str:
        recorded = [text for name, text in self._answers if name == _name(rpc)]
        nearest = get_close_matches(_text(request), recorded, n=1, cutoff=0)
        told = f"the nearest that was: {nearest[0]}" if nearest else "no call of the method was"
        return f"{_name(rpc)} was not recorded with this request; {told}; asked was: {_text(request)}"


def _forwarding(channel: grpc.aio.Channel, file: TextIO, rpc: Rpc) -> grpc.RpcMethodHandler[Message, Message]:
    to, back = rpc.request.SerializeToString, rpc.reply.FromString

    async def call(request: Message, context: Any) -> Message:
        unary: Any = channel.unary_unary(rpc.path, request_serializer=to, response_deserializer=back)
        reply: Message = await _noted(file, rpc, request, unary(request, **_terms(context)), context)
        return reply

    async def converse(requests: AsyncIterator[Message], context: Any) -> None:
        """One request after the other, so that the first without an answer is the one that the stream ends for."""
        stream: Any = channel.stream_stream(rpc.path, request_serializer=to, response_deserializer=back)
        upstream = stream(**_terms(context))
        try:
            async for request in requests:
                await context.write(await _noted(file, rpc, request, _asked(upstream, request), context))
            await upstream.done_writing()
            await _noted(file, rpc, None, upstream.read(), context)
        finally:
            upstream.cancel()

    return _handler(rpc, call, converse)


async def _asked(stream: Any, request: Message) -> Message:
    """The answer to a request of a stream."""
    with contextlib.suppress(asyncio.InvalidStateError):  # When it has ended, reading says why.
        await stream.write(request)
    reply: Message = await stream.read()
    return reply


async def _noted(file: TextIO, rpc: Rpc, request: Message | None, answer: Awaitable[Any], context: Any) -> Any:
    """What Camino answers, or the end of the call as Camino ended it; written down, if there was a request."""
    line = {"method": _name(rpc), "request": _told(request)} if request is not None else None
    try:
        reply = await answer
    except grpc.aio.AioRpcError as error:
        details = dict(error.trailing_metadata()).get(_DETAILS)
        if details is None:
            await context.abort(error.code(), error.details())
        status = status_pb2.Status.FromString(details)
        if line:
            print(json.dumps({**line, "status": _told(status)}), file=file, flush=True)
        await _fail(context, status)
    if line:
        print(json.dumps({**line, "reply": _told(reply)}), file=file, flush=True)
    return reply


def _terms(context: Any) -> dict[str, Any]:
    """The caller's deadline and token."""
    tokens = [(key, value) for key, value in context.invocation_metadata() or () if key == "authorization"]
    return {"timeout": context.time_remaining(), "metadata": tokens}


async def _fail(context: Any, status: status_pb2.Status) -> None:
    details = ((_DETAILS, status.SerializeToString()),)
    await context.abort(_CODES[status.code], status.message, trailing_metadata=details)


def _handler(
    rpc: Rpc,
    answer: Callable[[Message, Any], Awaitable[Message]],
    converse: Callable[[AsyncIterator[Message], Any], Awaitable[None]],
) -> grpc.RpcMethodHandler[Message, Message]:
    """`answer` for a method that takes one request, `converse` for one that streams."""
    handler: Any = grpc.stream_stream_rpc_method_handler if rpc.streaming else grpc.unary_unary_rpc_method_handler
    made: grpc.RpcMethodHandler[Message, Message] = handler(
        converse if rpc.streaming else answer, rpc.request.FromString, rpc.reply.SerializeToString
    )
    return made


def _name(rpc: Rpc) -> str:
    return rpc.path.removeprefix("/")


def _told(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return told


def _text(message: Message) -> str:
    return json.dumps(_told(message), sort_keys=True)
