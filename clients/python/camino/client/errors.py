"""What a failed call says: one exception with the reason, the fields at fault, and whether it may be sent again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from camino.errors.v1.reason_pb2 import REASON_ETAG_MISMATCH, REASON_UNSPECIFIED, Reason
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

DOMAIN = "camino"
_DETAILS = "grpc-status-details-bin"
_PASSING = (
    grpc.StatusCode.UNAVAILABLE,
    # By a server that was stopping: a call that its caller cancels raises another error.
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request: which field, and how to mend it."""

    field: str
    description: str


class CaminoError(grpc.aio.AioRpcError):
    """A call failed. Both flavours of the client raise it. It's a `grpc.RpcError`, so whoever catches those catches it
    too."""

    def __init__(
        self,
        code: grpc.StatusCode,
        initial_metadata: grpc.aio.Metadata | None = None,
        trailing_metadata: grpc.aio.Metadata | None = None,
        details: str | None = None,
        debug_error_string: str | None = None,
    ) -> None:
        super().__init__(code, initial_metadata, trailing_metadata, details, debug_error_string)
        info, bad = _read(trailing_metadata or ())
        self.status: grpc.StatusCode = code
        self.message: str = details or ""
        self.reason_name: str = info.reason.removeprefix("REASON_")
        """The reason as the service names it, e.g. `NOT_FOUND`; empty when the answer isn't the service's own."""
        self.reason: Reason = _known(self.reason_name)
        """REASON_UNSPECIFIED when there's none, or one that this version of the client doesn't know."""
        self.violations: tuple[Violation, ...] = tuple(Violation(v.field, v.description) for v in bad.field_violations)
        """The fields that were wrong, the first ones if there were too many to tell."""
        self.metadata: Mapping[str, str] = dict(info.metadata)
        """What else the service says about the reason, e.g. the `current_etag`."""

    @property
    def retryable(self) -> bool:
        """Whether the very same request may succeed when it's sent again after a pause. It may have been carried out
        already, so repeat only what does no harm twice: the methods that declare an `idempotency_level`."""
        return self.status in _PASSING and self.reason != REASON_ETAG_MISMATCH

    def __str__(self) -> str:
        """One line: the status, the reason unless it says the same, and the fields at fault or else the message."""
        status: str = self.status.name
        if self.reason_name not in ("", status):
            status = f"{status} ({self.reason_name})"
        told = "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in self.violations)
        return " ".join(f"{status}: {told or self.message}".split()).removesuffix(":")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


def from_rpc_error(error: grpc.RpcError) -> CaminoError:
    """What a call through any other channel failed with, as a `CaminoError`."""
    if isinstance(error, CaminoError):
        return error
    call: Any = error
    debug = getattr(call, "debug_error_string", None)
    return CaminoError(
        call.code(),
        trailing_metadata=grpc.aio.Metadata(*(call.trailing_metadata() or ())),
        details=call.details(),
        debug_error_string=debug() if debug else None,
    )


def _read(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[ErrorInfo, BadRequest]:
    """The details that the service sent along (AIP-193); empty ones for what it didn't."""
    info, bad = ErrorInfo(), BadRequest()
    for value in (value for key, value in metadata if key == _DETAILS and isinstance(value, bytes)):
        try:
            for detail in Status.FromString(value).details:
                detail.Unpack(bad)
                told = ErrorInfo()
                # Reasons are unique within a domain only.
                if detail.Unpack(told) and told.domain == DOMAIN:
                    info = told
        except DecodeError:  # Something between us and the service sent it.
            continue
    return info, bad


def _known(name: str) -> Reason:
    value: Any = Reason.DESCRIPTOR.values_by_name.get(f"REASON_{name}")
    reason: Reason = value.number if value else REASON_UNSPECIFIED
    return reason
