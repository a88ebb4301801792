"""What is written on the command line, and what services answer, read right."""

from __future__ import annotations

import grpc
import pytest
from camino.orchestrator.v1 import decision_pb2
from camino.type.v1.value_pb2 import Value
from google.rpc import code_pb2, error_details_pb2, status_pb2

from cli import durations, failures, profile_view, values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3d", "259200s"),
        ("180d", "15552000s"),
        ("12h", "43200s"),
        ("30m", "1800s"),
        ("2w", "1209600s"),
        ("45s", "45s"),
        ("1.5s", "1.5s"),
        ("1h30m", "5400s"),
        ("1m5s", "65s"),
    ],
)
def test_durations(text: str, seconds: str):
    assert durations.to_protobuf(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "d", "3 days", "3D", "1.5d", "-3d", "3d!"])
def test_what_is_no_duration(text: str):
    with pytest.raises(ValueError, match="is no duration"):
        durations.to_protobuf(text)


def test_identities_may_hold_colons():
    identity = values.identity("device:a:b")
    assert (identity.namespace, identity.value) == ("device", "a:b")


@pytest.mark.parametrize("text", ["ana@example.com", "email:", ":x", ""])
def test_what_is_no_identity(text: str):
    with pytest.raises(ValueError, match="namespace:value"):
        values.identity(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.5", Value(double_value=12.5)),
        ("-3", Value(double_value=-3)),
        ("1e3", Value(double_value=1000)),
        ("true", Value(bool_value=True)),
        ("false", Value(bool_value=False)),
        ("A1", Value(string_value="A1")),
        ("0123", Value(string_value="0123")),
        ("nan", Value(string_value="nan")),
        ("", Value(string_value="")),
        ("a=b", Value(string_value="a=b")),
    ],
)
def test_assignments_are_typed(text: str, value: Value):
    assert values.assignment(f"name={text}") == ("name", value)


@pytest.mark.parametrize("text", ["name", "=1"])
def test_what_is_no_assignment(text: str):
    with pytest.raises(ValueError, match="name=value"):
        values.assignment(text)


def test_instants():
    assert values.instant("2026-11-24T09:00:00+01:00").ToJsonString() == "2026-11-24T08:00:00Z"
    with pytest.raises(ValueError, match="is no instant"):
        values.instant("yesterday")


class Refused(grpc.RpcError):
    """A call's error as grpc raises it."""

    def __init__(self, code: grpc.StatusCode, details: str, *more: object) -> None:
        self._code = code
        self._details = details
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=details)
        for detail in more:
            status.details.add().Pack(detail)
        self._trailing = (("grpc-status-details-bin", status.SerializeToString()),) if more else ()

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._trailing


def test_a_failure_is_one_line_with_status_reason_and_fields():
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="definition.steps[0].next", description="there is no step 'x'")
    info = error_details_pb2.ErrorInfo(reason="REASON_INVALID_DEFINITION", domain="camino")
    error = Refused(grpc.StatusCode.INVALID_ARGUMENT, "two\nlines", info, bad)
    assert failures.line(error) == (
        "INVALID_ARGUMENT (INVALID_DEFINITION): definition.steps[0].next: there is no step 'x'"
    )


def test_a_failure_without_details_is_one_line_too():
    error = Refused(grpc.StatusCode.UNAVAILABLE, "failed to connect\nto all addresses")
    assert failures.line(error) == "UNAVAILABLE: failed to connect to all addresses"


def test_a_refused_decision_says_which_rules_stood_against_it():
    decision = decision_pb2.Decision(verdict=decision_pb2.VERDICT_DROP)
    decision.rules.add(rule="state", verdict=decision_pb2.VERDICT_SEND, input="active")
    decision.rules.add(rule="consent", verdict=decision_pb2.VERDICT_DROP, input="email/offers: OPTED_OUT")
    assert profile_view.because(decision) == "consent (email/offers: OPTED_OUT)"
