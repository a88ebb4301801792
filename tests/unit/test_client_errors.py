"""What a failed call says, read back from what came over the wire."""

from __future__ import annotations

import pickle

import grpc
import pytest
from camino.client import CaminoError, Violation, from_rpc_error
from camino.errors.v1 import reason_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2


class Raised(grpc.RpcError):
    """As grpc raises it through any channel."""

    def __init__(self, code: grpc.StatusCode, words: str, *details: Message, trailer: bytes | None = None) -> None:
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=words)
        for detail in details:
            status.details.add().Pack(detail)
        self._code = code
        self._words = words
        self._trailer = status.SerializeToString() if trailer is None else trailer

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._words

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return (("x-request", "1"), ("grpc-status-details-bin", self._trailer))


def info(reason: str, domain: str = "camino", **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def test_an_error_has_its_reason_and_the_fields_at_fault():
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="events[0].type", description="must match the pattern")
    bad.field_violations.add(description="too much at once")
    error = from_rpc_error(Raised(grpc.StatusCode.INVALID_ARGUMENT, "two\nlines", info("INVALID_FIELD"), bad))
    assert (error.status, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason_pb2.REASON_INVALID_FIELD)
    assert error.violations == (
        Violation("events[0].type", "must match the pattern"),
        Violation("", "too much at once"),
    )
    assert error.message == "two\nlines"
    assert str(error) == "INVALID_ARGUMENT (INVALID_FIELD): events[0].type: must match the pattern; too much at once"
    assert not error.retryable


def test_an_error_has_what_else_is_said_of_its_reason():
    error = from_rpc_error(Raised(grpc.StatusCode.ABORTED, "not the current", info("ETAG_MISMATCH", current_etag="3")))
    assert (error.reason, error.metadata) == (reason_pb2.REASON_ETAG_MISMATCH, {"current_etag": "3"})
    assert str(error) == "ABORTED (ETAG_MISMATCH): not the current"


def test_an_error_is_what_grpc_raises_and_says_the_same():
    raised = Raised(grpc.StatusCode.NOT_FOUND, "there is no profile", info("NOT_FOUND"))
    error = from_rpc_error(raised)
    assert isinstance(error, grpc.RpcError)
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "there is no profile")
    assert dict(error.trailing_metadata() or ())["x-request"] == "1"
    assert str(error) == "NOT_FOUND: there is no profile"
    assert from_rpc_error(error) is error


@pytest.mark.parametrize(
    "raised",
    [
        Raised(grpc.StatusCode.UNAVAILABLE, "no connection", info("QUOTA", domain="example.com")),
        Raised(grpc.StatusCode.UNAVAILABLE, "no connection", trailer=b"\xff\xff not a status"),
        Raised(grpc.StatusCode.UNAVAILABLE, "no connection"),
    ],
    ids=["of another domain", "garbage", "nothing"],
)
def test_what_is_not_caminos_own_has_no_reason(raised: Raised):
    error = from_rpc_error(raised)
    assert (error.reason, error.reason_name, error.violations) == (reason_pb2.REASON_UNSPECIFIED, "", ())
    assert str(error) == "UNAVAILABLE: no connection"
    assert error.retryable


def test_a_reason_that_a_newer_camino_has_keeps_its_name():
    error = from_rpc_error(Raised(grpc.StatusCode.FAILED_PRECONDITION, "full moon", info("FULL_MOON")))
    assert (error.reason, error.reason_name) == (reason_pb2.REASON_UNSPECIFIED, "FULL_MOON")


@pytest.mark.parametrize(
    ("code", "reason", "retryable"),
    [
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", True),
        (grpc.StatusCode.ABORTED, "CONTENTION", True),
        (grpc.StatusCode.ABORTED, "ETAG_MISMATCH", False),
        (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", False),
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", False),
        (grpc.StatusCode.INTERNAL, "INTERNAL", False),
    ],
)
def test_what_may_be_sent_again(code: grpc.StatusCode, reason: str, retryable: bool):
    assert from_rpc_error(Raised(code, "no", info(reason))).retryable is retryable


def test_an_error_survives_the_way_between_processes():
    error = from_rpc_error(Raised(grpc.StatusCode.NOT_FOUND, "no", info("NOT_FOUND", name="ana")))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, CaminoError)
    assert (str(again), again.metadata) == (str(error), {"name": "ana"})
