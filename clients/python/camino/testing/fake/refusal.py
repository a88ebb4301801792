"""Why a call or an item is refused, and how that is told: google.rpc.Status with its details (AIP-193)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import grpc
from camino.errors.v1 import reason_pb2
from camino.testing.rpcs import reason_name, status_of
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "camino"

# An error travels in headers, of which clients take 8 KiB in all.
_MESSAGE_BYTES = 1024
_VIOLATIONS_BYTES = 2048


class Violation(NamedTuple):
    """A field of the request, and what is wrong with it."""

    field: str
    description: str


class Refusal(Exception):
    """A call ends with this reason of `camino.errors.v1.Reason`, which its gRPC status follows from."""

    def __init__(self, reason: int, message: str, violations: Iterable[Violation] = (), **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.metadata = metadata

    @property
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode[status_of(self.reason)]

    def status(self) -> status_pb2.Status:
        """With ErrorInfo and, if fields are at fault, BadRequest: the first violations, as many as fit."""
        status = status_pb2.Status(code=self.code.value[0], message=cut(self.message))
        for detail in self._details():
            status.details.add().Pack(detail)
        return status

    def _details(self) -> Iterator[Message]:
        reason = reason_name(self.reason)
        yield error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=self.metadata)
        if self.violations:
            bad = error_details_pb2.BadRequest()
            room = _VIOLATIONS_BYTES
            for violation in self.violations:
                room -= len(violation.field.encode()) + len(violation.description.encode()) + 32
                if room < 0:
                    break
                bad.field_violations.add(reason=reason, **violation._asdict())
            yield bad


def cut(message: str) -> str:
    """As much of a message as headers have room for."""
    return message.encode()[:_MESSAGE_BYTES].decode(errors="ignore")


def invalid(violations: Iterable[Violation], reason: int = reason_pb2.REASON_INVALID_FIELD) -> Refusal:
    """Of a request or an item with these fields at fault."""
    found = tuple(violations)
    return Refusal(reason, "; ".join(f"{field}: {description}" for field, description in found), found)


def invalid_field(field: str, description: str, reason: int = reason_pb2.REASON_INVALID_FIELD) -> Refusal:
    return invalid([Violation(field, description)], reason)


def not_found(resource: str, name: str) -> Refusal:
    message = f"there is no {resource} {name!r} in this workspace"
    return Refusal(reason_pb2.REASON_NOT_FOUND, message, resource=resource, name=name)


def etag_mismatch(current: str) -> Refusal:
    message = "the etag is not the current one; read it again and retry"
    return Refusal(reason_pb2.REASON_ETAG_MISMATCH, message, current_etag=current)
