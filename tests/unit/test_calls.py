"""What is told of calls: numbers, ids and traces, whatever becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
import structlog
from camino.ops.v1 import dead_letter_service_pb2, dead_letter_service_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from services.chassis.app import App
from services.chassis.errors import NotFound
from services.chassis.server import Mounted
from services.chassis.telemetry import Telemetry
from services.chassis.testing import eventually, serving
from services.chassis.tracing import Tracing, traceparent

LIST = "camino.ops.v1.DeadLetterService/ListDeadLetters"
ListDeadLettersRequest = dead_letter_service_pb2.ListDeadLettersRequest
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Letters(dead_letter_service_pb2_grpc.DeadLetterServiceServicer):
    """Does what the page token says."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.places: list[str] = []

    async def ListDeadLetters(self, request: Any, context: object) -> dead_letter_service_pb2.ListDeadLettersResponse:
        self.places.append(traceparent())
        structlog.get_logger().info("served")
        self.asked.set()
        if request.page_token == "unknown":
            raise NotFound.of("page", "that")
        if request.page_token == "bug":
            raise ValueError("tripped")
        if request.page_token == "stay":
            await asyncio.Event().wait()
        return dead_letter_service_pb2.ListDeadLettersResponse()


class Watched:
    def __init__(self, channel: grpc.aio.Channel, telemetry: Telemetry, letters: Letters, lines: list[Any]) -> None:
        self._stub = dead_letter_service_pb2_grpc.DeadLetterServiceStub(channel)
        self.telemetry = telemetry
        self.letters = letters
        self.lines = lines

    def call(self, token: str = "", **metadata: str) -> Any:
        given = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        return self._stub.ListDeadLetters(ListDeadLettersRequest(page_token=token), metadata=given)

    async def answered(self, token: str = "", **metadata: str) -> tuple[grpc.StatusCode, str]:
        """How a call ends, and the request id that comes back with it."""
        call = self.call(token, **metadata)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code(), dict(error.trailing_metadata())["x-request-id"]
        return await call.code(), dict(await call.trailing_metadata())["x-request-id"]

    def number(self, name: str, **labels: str) -> float | None:
        return self.telemetry.metrics.registry.get_sample_value(name, {"method": LIST, **labels})


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """Log lines, with what is bound to the call."""
    found: list[Any] = []

    def keep(_logger: object, _method: str, event: Any) -> Any:
        found.append(event)
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    yield found
    structlog.reset_defaults()


@pytest.fixture
async def watched(spans: InMemorySpanExporter, lines: list[Any]) -> AsyncIterator[Watched]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry, letters = Telemetry(tracing=Tracing(provider.get_tracer("test"))), Letters()
    add = dead_letter_service_pb2_grpc.add_DeadLetterServiceServicer_to_server
    app = App([Mounted(add, letters, "camino.ops.v1.DeadLetterService")], [])
    async with serving(app, telemetry=telemetry) as channel:
        yield Watched(channel, telemetry, letters, lines)


@pytest.mark.parametrize(
    ("token", "status"),
    [("", "OK"), ("unknown", "NOT_FOUND"), ("bug", "INTERNAL"), ("x" * 10_000, "INVALID_ARGUMENT")],
    ids=["answered", "refused", "a fault", "invalid"],
)
async def test_each_end_of_a_call_is_measured(watched: Watched, token: str, status: str) -> None:
    code, _ = await watched.answered(token)
    assert code is grpc.StatusCode[status]

    async def measured() -> bool:
        return watched.number("camino_rpc_duration_seconds_count", status=status) == 1

    await eventually(measured)
    assert watched.number("camino_rpc_in_flight") == 0


async def test_a_call_under_way_is_in_flight_and_one_broken_off_is_cancelled(watched: Watched) -> None:
    call = watched.call("stay")
    await watched.letters.asked.wait()
    assert watched.number("camino_rpc_in_flight") == 1
    call.cancel()

    async def cancelled() -> bool:
        return watched.number("camino_rpc_duration_seconds_count", status="CANCELLED") == 1

    await eventually(cancelled)
    assert watched.number("camino_rpc_in_flight") == 0


@pytest.mark.parametrize("token", ["", "unknown", "bug"])
async def test_the_callers_request_id_is_in_the_log_and_comes_back(watched: Watched, token: str) -> None:
    _, request_id = await watched.answered(token, x_request_id="order-4711.a")
    assert request_id == "order-4711.a"
    assert watched.lines
    assert {line["request_id"] for line in watched.lines} == {"order-4711.a"}


@pytest.mark.parametrize("sent", ["", "ana@example.com", "short", "x" * 65, 'a"b"c"d"e', "with blanks in it"])
async def test_an_id_that_a_log_should_not_hold_is_replaced(watched: Watched, sent: str) -> None:
    _, first = await watched.answered(x_request_id=sent)
    _, second = await watched.answered()
    assert sent not in (first, second)
    assert len({first, second}) == 2
    assert {line["request_id"] for line in watched.lines} == {first, second}


async def test_a_call_goes_on_in_its_callers_trace(watched: Watched, spans: InMemorySpanExporter) -> None:
    await watched.answered(traceparent=PARENT)
    await watched.answered("unknown", traceparent=PARENT)
    await watched.answered("bug", traceparent=PARENT)

    async def ended() -> bool:
        return len(spans.get_finished_spans()) == 3

    await eventually(ended)
    for span, place in zip(spans.get_finished_spans(), watched.letters.places, strict=True):
        assert span.context is not None
        assert span.parent is not None
        assert (span.name, f"{span.context.trace_id:032x}") == (LIST, PARENT[3:35])
        assert f"{span.parent.span_id:016x}" == PARENT[36:52]
        assert place == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    # What the caller did wrong is no error of the server's (OpenTelemetry's conventions for gRPC).
    statuses = [span.status.status_code for span in spans.get_finished_spans()]
    assert statuses == [StatusCode.UNSET, StatusCode.UNSET, StatusCode.ERROR]


async def test_a_caller_that_does_not_sample_is_followed(watched: Watched, spans: InMemorySpanExporter) -> None:
    await watched.answered(traceparent=f"{PARENT[:-2]}00")
    assert watched.letters.places == [""]
    assert spans.get_finished_spans() == ()
