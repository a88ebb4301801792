"""Calls that were made of a real Camino once, replayed ever after.

A recording is a file of JSON lines, one for each call, and for each request of a stream: `method`, `request`, and
`reply` or `status` (google.rpc.Status with its details). A call that's answered with responses as they come has its
line at its end, with `replies`, and `status` if it wasn't its caller who ended it. A recording holds what was sent,
personal data included, but no token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
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
        lines = _Lines(exits.enter_context(self._path.open("w")))
        exits.callback(lines.end)
        channels: dict[str, grpc.aio.Channel] = {}
        handlers = {}
        for rpc in rpcs():
            target = self._target_of(rpc)
            if target and target not in channels:
                channels[target] = await exits.enter_async_context(self._channel(target))
            if target:
                handlers[rpc] = _forwarding(channels[target], lines, rpc)
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
    one from then on. What wasn't recorded fails with UNIMPLEMENTED, and is told what was that comes nearest. Responses
    that came one after the other come at once, and where their caller had enough, nothing more comes."""

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

        async def tell(request: Message, context: Any) -> None:
            call = await self._recorded(rpc, request, context)
            for reply in call["replies"]:
                await context.write(ParseDict(reply, rpc.reply()))
            if "status" in call:
                await _fail(context, ParseDict(call["status"], status_pb2.Status()))
            await asyncio.Event().wait()

        return _handler(rpc, partial(self._answer, rpc), converse, tell)

    async def _answer(self, rpc: Rpc, request: Message, context: Any) -> Message:
        call = await self._recorded(rpc, request, context)
        if "status" in call:
            await _fail(context, ParseDict(call["status"], status_pb2.Status()))
        return ParseDict(call["reply"], rpc.reply())

    async def _recorded(self, rpc: Rpc, request: Message, context: Any) -> dict[str, Any]:
        answers = self._answers.get((_name(rpc), _text(request)))
        if answers is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, cut(self._unknown(rpc, request)))
        assert answers
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _unknown(self, rpc: Rpc, request: Message) -> str:
        recorded = [text for name, text in self._answers if name == _name(rpc)]
        nearest = get_close_matches(_text(request), recorded, n=1, cutoff=0)
        told = f"the nearest that was: {nearest[0]}" if nearest else "no call of the method was"
        return f"{_name(rpc)} was not recorded with this request; {told}; asked was: {_text(request)}"


class _Lines:
    """What is written down: of a call at its end, or when nothing more is written."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begun: dict[int, Mapping[str, Any]] = {}

    def write(self, line: Mapping[str, Any]) -> None:
        print(json.dumps(line), file=self._file, flush=True)

    @contextlib.contextmanager
    def under_way(self, line: Mapping[str, Any]) -> Iterator[None]:
        """Something may be added to a line meanwhile."""
        self._begun[id(line)] = line
        try:
            yield
        finally:
            if self._begun.pop(id(line), None):
                self.write(line)

    def end(self) -> None:
        while self._begun:
            self.write(self._begun.popitem()[1])


def _forwarding(channel: grpc.aio.Channel, lines: _Lines, rpc: Rpc) -> grpc.RpcMethodHandler[Message, Message]:
    to, back = rpc.request.SerializeToString, rpc.reply.FromString

    async def call(request: Message, context: Any) -> Message:
        unary: Any = channel.unary_unary(rpc.path, request_serializer=to, response_deserializer=back)
        reply: Message = await _noted(lines, rpc, request, unary(request, **_terms(context)), context)
        return reply

    async def converse(requests: AsyncIterator[Message], context: Any) -> None:
        """One request after the other, so that the first without an answer is the one that the stream ends for."""
        stream: Any = channel.stream_stream(rpc.path, request_serializer=to, response_deserializer=back)
        upstream = stream(**_terms(context))
        try:
            async for request in requests:
                await context.write(await _noted(lines, rpc, request, _asked(upstream, request), context))
            await upstream.done_writing()
            await _noted(lines, rpc, None, upstream.read(), context)
        finally:
            upstream.cancel()

    async def tell(request: Message, context: Any) -> None:
        line: dict[str, Any] = {"method": _name(rpc), "request": _told(request), "replies": []}
        with lines.under_way(line):
            await pass_on(request, context, line)

    async def pass_on(request: Message, context: Any, line: dict[str, Any]) -> None:
        responses: Any = channel.unary_stream(rpc.path, request_serializer=to, response_deserializer=back)
        upstream = responses(request, **_terms(context))
        try:
            async for reply in upstream:
                await context.write(reply)
                line["replies"].append(_told(reply))
        except grpc.aio.AioRpcError as error:
            status = await _status(error, context)
            line["status"] = _told(status)
            await _fail(context, status)
        finally:
            upstream.cancel()

    return _handler(rpc, call, converse, tell)


async def _asked(stream: Any, request: Message) -> Message:
    """The answer to a request of a stream."""
    with contextlib.suppress(asyncio.InvalidStateError):  # When it has ended, reading says why.
        await stream.write(request)
    reply: Message = await stream.read()
    return reply


async def _noted(lines: _Lines, rpc: Rpc, request: Message | None, answer: Awaitable[Any], context: Any) -> Any:
    """What Camino answers, or the end of the call as Camino ended it; written down, if there was a request."""
    line = {"method": _name(rpc), "request": _told(request)} if request is not None else None
    try:
        reply = await answer
    except grpc.aio.AioRpcError as error:
        status = await _status(error, context)
        if line:
            lines.write({**line, "status": _told(status)})
        await _fail(context, status)
    if line:
        lines.write({**line, "reply": _told(reply)})
    return reply


async def _status(error: grpc.aio.AioRpcError, context: Any) -> status_pb2.Status:
    """What Camino said. What it didn't say itself ends the call as it is."""
    details = dict(error.trailing_metadata()).get(_DETAILS)
    if details is None:
        await context.abort(error.code(), error.details())
    return status_pb2.Status.FromString(details)


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
    tell: Callable[[Message, Any], Awaitable[None]],
) -> grpc.RpcMethodHandler[Message, Message]:
    """`answer` for a method that takes one request, `converse` for one that streams, `tell` for one that tells."""
    kind: Any = grpc.unary_unary_rpc_method_handler, answer
    if rpc.streaming:
        kind = grpc.stream_stream_rpc_method_handler, converse
    if rpc.telling:
        kind = grpc.unary_stream_rpc_method_handler, tell
    handler, behaviour = kind
    made: grpc.RpcMethodHandler[Message, Message] = handler(
        behaviour, rpc.request.FromString, rpc.reply.SerializeToString
    )
    return made


def _name(rpc: Rpc) -> str:
    return rpc.path.removeprefix("/")


def _told(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return told


def _text(message: Message) -> str:
    return json.dumps(_told(message), sort_keys=True)
