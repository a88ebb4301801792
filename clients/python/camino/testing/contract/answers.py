"""What came of a call, and what every answer must hold to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import grpc
from buf.validate import validate_pb2
from camino.errors.v1 import reason_pb2
from camino.testing.rpcs import Rpc, reason_name, status_of
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from protovalidate import Validator

_DETAILS = "grpc-status-details-bin"
_DOMAIN = "camino"
_SHOWN = 2_000


class Broken(AssertionError):
    """The contract doesn't hold: what was asked, what was promised, what came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, or why there is none."""

    rpc: Rpc
    request: Message
    status: str
    """The name of the gRPC status; `OK` with a reply."""
    reply: Any = None
    message: str = ""
    reason: int = 0
    domain: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    """The fields at fault, and what is wrong with each."""

    @property
    def ok(self) -> bool:
        return self.status == "OK"

    def must(self, held: bool, promise: str) -> None:
        """Raise `Broken` unless it held."""
        if not held:
            raise Broken(f"{self.rpc.full_name}: {promise}\n  {self}\n  request: {_shown(self.request)}")

    def must_be_ok(self) -> Any:
        """The reply, which holds to its own rules."""
        self.must(self.ok, "must be answered")
        self.must_be_sound()
        return self.reply

    def must_be_taken(self) -> Any:
        """The reply, which says of no item that it failed."""
        reply = self.must_be_ok()
        errors = [result.error for result in getattr(reply, "results", ()) if result.HasField("error")]
        self.must(not errors, "every item must be taken")
        return reply

    def must_be_sound(self) -> None:
        """Hold any answer to what all answers promise: a reply that keeps its own rules, or a failure for a declared
        reason with the status that goes with it."""
        if self.ok:
            broken = [
                f"{found.proto.rule_id} at {_path(found)}" for found in _validator().collect_violations(self.reply)
            ]
            self.must(not broken, f"the reply breaks its own rules: {', '.join(broken)}")
            self._must_tell_of_each_item()
            return
        unanswered = not self.domain and self.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        self.must(not unanswered, "must be answered, and no answer came")
        self.must(self.domain == _DOMAIN, "a failure must carry google.rpc.ErrorInfo of the domain camino")
        self.must(
            self.reason in self.rpc.reasons, f"{reason_name(self.reason)} is not among the method's declared reasons"
        )
        self.must(self.reason != reason_pb2.REASON_INTERNAL, "must not fail for a fault of its own")
        self.must(
            self.status == status_of(self.reason),
            f"{reason_name(self.reason)} must come with the status {status_of(self.reason)}",
        )
        self.must(bool(self.message), "a failure must say in words what is wrong")
        if self.status == "INVALID_ARGUMENT":
            named = all(said and (field or _has_rules(self.rpc)) for field, said in self.violations)
            self.must(
                named and bool(self.violations),
                "INVALID_ARGUMENT must carry google.rpc.BadRequest that names the fields and what is wrong with them",
            )

    def _must_tell_of_each_item(self) -> None:
        if not self.rpc.items_field:
            return
        asked = len(getattr(self.request, self.rpc.items_field))
        self.must(len(self.reply.results) == asked, f"must have one result for each of {asked} items")
        for result in self.reply.results:
            reason = result.error.reason
            self.must(
                not result.HasField("error") or reason in self.rpc.item_reasons,
                f"{reason_name(reason)} is not among the declared reasons of items",
            )

    def must_fail(self, status: str, reason: int) -> None:
        """It fails, soundly, and like this."""
        self.must(self.status == status, f"must fail with {status}")
        self.must(self.reason == reason, f"must fail for the reason {reason_name(reason)}")
        self.must_be_sound()

    def __str__(self) -> str:
        if self.ok:
            return f"answer: {_shown(self.reply)}"
        reason = reason_name(self.reason) if self.reason else "no reason"
        return f"answer: {self.status} ({reason}): {self.message}; violations {list(self.violations)}"


def answered(rpc: Rpc, request: Message, reply: Message) -> Answer:
    return Answer(rpc, request, "OK", reply)


def failed(rpc: Rpc, request: Message, error: grpc.RpcError) -> Answer:
    """What a failed call says, with its details decoded (AIP-193)."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS:
            status.ParseFromString(value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return Answer(
        rpc,
        request,
        error.code().name,
        message=error.details() or "",
        reason=dict(reason_pb2.Reason.items()).get(f"REASON_{info.reason}", 0),
        domain=info.domain,
        metadata=dict(info.metadata),
        violations=tuple((found.field, found.description) for found in bad.field_violations),
    )


@cache
def _has_rules(rpc: Rpc) -> bool:
    """Whether a request may be at fault as a whole, and no field of it."""
    return bool(rpc.request.DESCRIPTOR.GetOptions().Extensions[validate_pb2.message].cel)


@cache
def _validator() -> Validator:
    return Validator()


def _path(violation: Any) -> str:
    return ".".join(element.field_name for element in violation.proto.field.elements) or "the message"


def _shown(message: Message) -> str:
    try:
        text = MessageToJson(message, indent=None, preserving_proto_field_name=True, ensure_ascii=False)
    except Exception:  # a timestamp out of range has no JSON, and must be shown all the same
        text = str(message)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
