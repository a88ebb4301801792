"""What happens to every call: validation, a deadline, one mapping of errors, and a line in the log when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import grpc
import structlog
from camino.options.v1 import options_pb2
from google.protobuf import any_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import CaminoError, Status, Violation
from services.chassis.redaction import redacted
from services.chassis.validation import RequestValidator

log = structlog.get_logger()

DOMAIN = "camino"

# An error travels in headers, of which clients take 8 KiB in all.
_MESSAGE_BYTES = 1024
_VIOLATIONS_BYTES = 2048
_LONGEST_CALL_S = 60.0


class UndeclaredMethod(Exception):
    """A method that doesn't declare what the chassis needs to know of it. The service must not start."""


def describe(service: str) -> ServiceDescriptor:
    """A service's descriptor. Raises `UndeclaredMethod` if one of its methods declares no scope or no idempotency."""
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    for method in descriptor.methods:
        options = method.GetOptions()
        if not options.Extensions[options_pb2.required_scope]:
            raise UndeclaredMethod(f"{method.full_name} declares no required_scope")
        if not options.idempotency_level:
            raise UndeclaredMethod(f"{method.full_name} declares no idempotency_level")
    return descriptor


class Boundary(grpc.aio.ServerInterceptor):
    """Between the wire and the servicers, for the methods of the services it's given; health and reflection pass
    untouched."""

    def __init__(self, services: Iterable[str]) -> None:
        self._methods: dict[str, MethodDescriptor] = {
            f"/{service}/{method.name}": method for service in services for method in describe(service).methods
        }
        self._validator = RequestValidator()
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        name = details.method
        if name not in self._methods:
            return await continuation(details)
        handler = self._handlers.get(name)
        if handler is None:
            handler = self._handlers[name] = self._wrap(name, await continuation(details))
        return handler

    def _wrap(self, name: str, handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
        options = self._methods[name].GetOptions()
        items_field: str = options.Extensions[options_pb2.items_field]
        call = handler.unary_unary

        async def answer(request: Message, context: grpc.aio.ServicerContext) -> Message:
            try:
                self._validator.check(request, items_field)
                left = context.time_remaining()
                async with asyncio.timeout(min(left, _LONGEST_CALL_S) if left is not None else _LONGEST_CALL_S):
                    response: Message = await call(request, context)
                    return response
            except Exception as error:
                known = as_camino_error(error)
                log.log(
                    40 if known.status is Status.INTERNAL else 20,
                    "call failed",
                    method=name,
                    reason=known.reason,
                    error=_cut(known.message),
                    request=redacted(request) if known.status is Status.INTERNAL else None,
                    exc_info=error if known.status is Status.INTERNAL else None,
                )
                await abort(context, known)
                raise AssertionError("abort does not return") from error

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)


def as_camino_error(error: Exception) -> CaminoError:
    """The error itself if it's one that callers are told of; a deadline; or INTERNAL, without the words of a bug."""
    if isinstance(error, CaminoError):
        return error
    if isinstance(error, TimeoutError):
        late = CaminoError(
            "the deadline passed before it was done; what was asked may or may not have happened",
            reason="DEADLINE_EXCEEDED",
        )
        late.status = Status.DEADLINE_EXCEEDED
        return late
    return CaminoError(f"a fault of ours ({type(error).__name__}); the log has it")


def rpc_status(error: CaminoError) -> status_pb2.Status:
    """The error as google.rpc.Status with ErrorInfo and, for bad requests, BadRequest (AIP-193): the first violations,
    as many as fit."""
    code = grpc.StatusCode[error.status.value].value[0]
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata),
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=v.field, description=v.message, reason=error.reason
                    )
                    for v in _first(error.violations)
                ]
            )
        )
    status = status_pb2.Status(code=code, message=_cut(error.message))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _cut(message: str) -> str:
    return message.encode()[:_MESSAGE_BYTES].decode(errors="ignore")


def _first(violations: Iterable[Violation]) -> Iterator[Violation]:
    room = _VIOLATIONS_BYTES
    for violation in violations:
        room -= len(violation.field.encode()) + len(violation.message.encode()) + 32
        if room < 0:
            return
        yield violation


async def abort(context: grpc.aio.ServicerContext, error: CaminoError) -> None:
    status: Any = rpc_status(error)
    await context.abort(
        grpc.StatusCode[error.status.value],
        _cut(error.message),
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
