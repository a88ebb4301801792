"""What a failed call says, in words for a person: status, reason, and the fields that were wrong."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Failure:
    status: str
    reason: str
    """A name of `camino.errors.v1.Reason` without its prefix; empty when the answer isn't the service's own."""
    message: str
    fields: tuple[tuple[str, str], ...]
    """(field, what is wrong with it)."""

    def __str__(self) -> str:
        words = f"{self.status} ({self.reason})" if self.reason not in ("", self.status) else self.status
        if self.fields:
            return f"{words}: " + "; ".join(f"{name}: {text}" if name else text for name, text in self.fields)
        return f"{words}: {self.message}" if self.message else words


def describe(error: grpc.RpcError) -> Failure:
    reason = ""
    fields: list[tuple[str, str]] = []
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # What was sent along is no status: the code and its words are what there is.
        status = None
    for detail in status.details if status else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason = info.reason.removeprefix("REASON_")
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            fields += [(violation.field, violation.description) for violation in bad.field_violations]
    return Failure(error.code().name, reason, _one_line(error.details() or ""), tuple(fields))


def line(error: grpc.RpcError) -> str:
    return str(describe(error))


def _one_line(text: str) -> str:
    return " ".join(text.split())
