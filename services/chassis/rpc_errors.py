"""Errors as gRPC tells them: a status, with `google.rpc` details in the trailing metadata (AIP-193)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import CaminoError, Unavailable, Violation

DOMAIN = "camino"

# An error travels in headers, of which clients take 8 KiB in all.
_MESSAGE_BYTES = 1024
_VIOLATIONS_BYTES = 2048


def as_camino_error(error: Exception) -> CaminoError:
    """The error itself if it's one that callers are told of; what didn't answer us in time; or INTERNAL, without the
    words of a bug."""
    if isinstance(error, CaminoError):
        return error
    if isinstance(error, TimeoutError):
        return Unavailable("something that's needed didn't answer in time; retry later")
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
    status = status_pb2.Status(code=code, message=cut(error.message))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def cut(message: str) -> str:
    """As much of it as fits."""
    return message.encode()[:_MESSAGE_BYTES].decode(errors="ignore")


def _first(violations: Iterable[Violation]) -> Iterator[Violation]:
    room = _VIOLATIONS_BYTES
    for violation in violations:
        room -= len(violation.field.encode()) + len(violation.message.encode()) + 32
        if room < 0:
            return
        yield violation


async def abort(context: grpc.aio.ServicerContext, error: CaminoError) -> NoReturn:
    """End a call with an error."""
    status: Any = rpc_status(error)
    await context.abort(
        grpc.StatusCode[error.status.value],
        cut(error.message),
        trailing_metadata=(
            *(context.trailing_metadata() or ()),
            ("grpc-status-details-bin", status.SerializeToString()),
        ),
    )
    raise AssertionError("abort does not return")
