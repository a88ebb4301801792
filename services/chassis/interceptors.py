"""What happens to every call: who makes it and whether they may, validation, a deadline, one mapping of errors, and a
line in the log when it fails. `calls` has what is told of it besides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from services.chassis.callers import Caller, KnowsCallers, identify
from services.chassis.calls import Call, Calls
from services.chassis.conversation import converse
from services.chassis.errors import CaminoError, DeadlineExceeded, InvalidArgument, Status
from services.chassis.failures import fields_of, words_of
from services.chassis.methods import Method, describe
from services.chassis.redaction import redacted
from services.chassis.rpc_errors import abort, as_camino_error, cut
from services.chassis.streams import OpenStreams, StreamLimits, StreamOver
from services.chassis.telemetry import Telemetry
from services.chassis.telling import tell
from services.chassis.validation import RequestValidator

log = structlog.get_logger()

_LONGEST_CALL_S = 60.0
_OK = grpc.StatusCode.OK.name

Decode = Callable[[bytes], Message]


class Boundary(grpc.aio.ServerInterceptor):
    """Between the wire and the servicers, for the methods of the services it's given; health and reflection pass
    untouched.

    Who isn't known, or lacks the method's scope, is refused before the request is as much as parsed. Then the request
    is held to its schema, and then its workspace must be open to the caller; requests of methods without a
    `workspace_id` may concern any workspace, so all must be. Without `callers` everything is allowed to everybody.

    A stream both ways is many calls over one: its servicer's method takes one request and returns its reply, as that of
    any other method, and is called for each. A method that tells, by a stream of responses to one request, is an
    asynchronous generator, which goes on as fast as its caller reads and is closed when the call ends. Whether the
    caller of a stream may still call is asked again every few seconds.
    """

    def __init__(
        self,
        services: Iterable[str],
        callers: KnowsCallers | None,
        telemetry: Telemetry,
        streams: StreamLimits,
    ) -> None:
        self._methods: dict[str, Method] = {}
        self._callers = callers
        self._calls = Calls(telemetry)
        self._limits = streams
        self._streams = OpenStreams(streams)
        # Counted apart: who is told for hours keeps nobody from sending.
        self._told = OpenStreams(streams)
        self._validator = RequestValidator()
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self.guard(services)

    def guard(self, services: Iterable[str]) -> None:
        """Stand before these services too. Raises `UndeclaredMethod`."""
        methods = [Method.of(method) for service in services for method in describe(service).methods]
        self._methods.update((method.name, method) for method in methods)

    def drain(self) -> None:
        """End the streams: each after the answers to what it has read, or between two responses."""
        self._streams.drain()
        self._told.drain()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        method = self._methods.get(details.method)
        if method is None:
            return await continuation(details)
        call = self._calls.begin(method.name, details.invocation_metadata)
        admit = partial(self._admit, method, details.invocation_metadata)
        try:
            caller = admit()
        except CaminoError as error:
            return _refusal(method, call, error)
        handler = self._handlers.get(method.name)
        if handler is None:
            handler = self._handlers[method.name] = await continuation(details)
        # Requests are decoded here: what gRPC can't decode it answers with UNKNOWN, and Python's words.
        decode = partial(_decoded, handler.request_deserializer)
        if method.streams:
            answer_all = partial(self._answer_all, method, call, admit, decode, handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(answer_all, None, handler.response_serializer)
        if method.tells:
            answer_on = partial(self._answer_on, method, call, caller, admit, decode, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(answer_on, None, handler.response_serializer)
        answer = partial(self._answer, method, call, caller, decode, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(answer, None, handler.response_serializer)

    def _admit(self, method: Method, metadata: Iterable[tuple[str, str | bytes]]) -> Caller | None:
        """Who calls, or None if that's not asked here. Raises `Unauthenticated` and `PermissionDenied`."""
        if self._callers is None:
            return None
        caller = identify(self._callers, metadata)
        # Each call is a task of its own, and so is what is bound here.
        structlog.contextvars.bind_contextvars(caller=caller.name)
        caller.must_have(method.scope)
        return caller

    async def _answer(
        self,
        method: Method,
        call: Call,
        caller: Caller | None,
        decode: Decode,
        serve: Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message]],
        raw: bytes,
        context: grpc.aio.ServicerContext,
    ) -> Message:
        request: Message | None = None
        with call.answering(context):
            left = context.time_remaining()
            limit = asyncio.timeout(min(left, _LONGEST_CALL_S) if left is not None else _LONGEST_CALL_S)
            try:
                request = decode(raw)
                self._check(method, caller, request)
                async with limit:
                    response = await serve(request, context)
            except Exception as error:
                await _fail(method, call, context, DeadlineExceeded() if limit.expired() else error, request)
            call.status = _OK
            return response

    async def _answer_all(
        self,
        method: Method,
        call: Call,
        admit: Callable[[], Caller | None],
        decode: Decode,
        serve: Callable[[Message, grpc.aio.ServicerContext], Awaitable[Message]],
        requests: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext,
    ) -> None:
        caller: Caller | None = None

        def admit_again() -> None:
            nonlocal caller
            caller = admit()

        async def checked() -> AsyncIterator[Message]:
            async for raw in requests:
                with call.refusing():
                    request = decode(raw)
                    self._check(method, caller, request)
                yield request

        async def answer(request: Message) -> Message:
            with call.answering_one() as ending:
                limit = asyncio.timeout(_LONGEST_CALL_S)
                try:
                    async with limit:
                        response = await serve(request, context)
                except Exception as error:
                    known = DeadlineExceeded() if limit.expired() else as_camino_error(error)
                    ending.status = known.status.value
                    if known is error:
                        raise
                    raise known from error
                ending.status = _OK
                return response

        with call.conversing(context):
            try:
                admit_again()
                with self._streams.open(admit_again) as end:
                    await converse(checked(), answer, context.write, end, unanswered=self._limits.unanswered)
            except Exception as error:
                await _fail(method, call, context, error)
            call.status = _OK

    async def _answer_on(
        self,
        method: Method,
        call: Call,
        caller: Caller | None,
        admit: Callable[[], Caller | None],
        decode: Decode,
        serve: Callable[[Message, grpc.aio.ServicerContext], AsyncGenerator[Message, None]],
        raw: bytes,
        context: grpc.aio.ServicerContext,
    ) -> None:
        request: Message | None = None

        def may_go_on() -> None:
            _must_reach(method, admit(), request)

        with call.telling(context) as telling:

            async def write(response: Message) -> None:
                await context.write(response)
                telling.begun()

            try:
                request = decode(raw)
                self._check(method, caller, request)
                with self._told.open(may_go_on) as end:
                    await tell(serve(request, context), write, end)
            except Exception as error:
                await _fail(method, call, context, error, request)
            call.status = _OK

    def _check(self, method: Method, caller: Caller | None, request: Any) -> None:
        self._validator.check(request, method.items_field)
        _must_reach(method, caller, request)


def _must_reach(method: Method, caller: Caller | None, request: Any) -> None:
    """Raises `PermissionDenied` if what the request concerns isn't open to the caller."""
    if caller is None:
        return
    if method.has_workspace:
        caller.must_reach(request.workspace_id)
    else:
        caller.must_reach_everything()


def _decoded(deserialize: Decode, raw: bytes) -> Message:
    """A request. Raises `InvalidArgument` for bytes that aren't one."""
    try:
        return deserialize(raw)
    except DecodeError:
        raise InvalidArgument(
            "the request can't be decoded: it's cut off, nested too deeply, holds text that isn't UTF-8, or is no"
            " message of the method's type; send what the client library encodes"
        ) from None


def _refusal(method: Method, call: Call, error: CaminoError) -> grpc.RpcMethodHandler:
    """Ends a call with the error."""

    async def refuse(_requests: object, context: grpc.aio.ServicerContext) -> NoReturn:
        with call.answering(context):
            await _fail(method, call, context, error)

    # As a stream, also where the method is none: for that gRPC would take in the whole request first, up to 16 MiB, of
    # whoever has no right to send one.
    return grpc.stream_stream_rpc_method_handler(refuse)


async def _fail(
    method: Method, call: Call, context: grpc.aio.ServicerContext, error: Exception, request: Message | None = None
) -> NoReturn:
    known = as_camino_error(error)
    call.status, call.over = known.status.value, isinstance(known, StreamOver)
    internal = known.status is Status.INTERNAL
    log.log(
        # Strangers must not be able to fill the log; the metrics count them. That a stream's time is over is no news.
        40 if internal else 10 if known.status is Status.UNAUTHENTICATED or call.over else 20,
        "call failed",
        method=method.name,
        reason=known.reason,
        error=cut(words_of(known)),
        fields=fields_of(known),
        request=redacted(request) if internal and request is not None else None,
        exc_info=error if internal else None,
    )
    await abort(context, known)
