"""Methods that answer one request with responses as they come, at the boundary: memberships that a test makes up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from camino.client.errors import from_rpc_error
from camino.errors.v1 import reason_pb2
from camino.segment.v1 import segment_service_pb2 as wire
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceServicer, add_SegmentServiceServicer_to_server
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from services.chassis.callers import Allowed, Caller, Callers, digest
from services.chassis.clients import open_channel
from services.chassis.errors import NotFound
from services.chassis.server import Mounted, Server
from services.chassis.streams import StreamLimits
from services.chassis.telemetry import Telemetry
from services.chassis.testing import eventually
from services.chassis.tracing import Tracing

SERVICE = "camino.segment.v1.SegmentService"
METHOD = f"{SERVICE}/WatchMemberships"
CODE = grpc.StatusCode
LOOKING = replace(StreamLimits(), look_s=0.01)


class Told(SegmentServiceServicer):
    """Tells by the cursor that it's asked for, such as `3 unknown`: so many responses, and then it fails, trips over,
    goes on for ever, or waits for what doesn't come. By nothing, it ends."""

    def __init__(self) -> None:
        self.asked = Counter[str]()
        self.closed = Counter[str]()

    async def WatchMemberships(self, request: Any, context: object) -> AsyncIterator[Any]:
        count, _, then = request.cursor.partition(" ")
        number = 0
        try:
            while number < int(count) or then == "for ever":
                number += 1
                self.asked[then] = number
                padding = ["x" * 1_000] if then == "for ever" else []
                members = wire.SegmentMembers(segment_id="vips", profile_ids=padding)
                yield wire.WatchMembershipsResponse(cursor=str(number), members=members)
            if then == "unknown":
                raise NotFound.of("segment", "vips")
            if then == "bug":
                raise ValueError("tripped")
            if then == "wait":
                await asyncio.Event().wait()
        finally:
            # A generator is closed where it was: what it holds is given back there, which may take a while.
            await asyncio.sleep(0)
            self.closed[then] += 1

    async def gone(self, then: str, times: int = 1) -> None:
        async def so() -> bool:
            return self.closed[then] == times

        await eventually(so)


class Served:
    """The service, who may call it, and what is told of it."""

    def __init__(self, told: Told, limits: StreamLimits, telemetry: Telemetry) -> None:
        self.callers = Callers(
            {
                digest("ours"): Caller("ours", Allowed.of(["segments.read"]), Allowed.of(["shop"])),
                digest("others"): Caller("others", Allowed.of(["segments.write"]), Allowed.of(["*"])),
            }
        )
        self.telemetry = telemetry
        self.target = ""
        mounted = [Mounted(add_SegmentServiceServicer_to_server, told, SERVICE)]
        self.server = Server(mounted, self, telemetry=self.telemetry, streams=limits)

    def find(self, token: str) -> Caller | None:
        return self.callers.find(token)

    def number(self, name: str, **labels: str) -> float | None:
        return self.telemetry.metrics.registry.get_sample_value(name, {"method": METHOD, **labels})

    async def counted(self, number: float, status: str) -> None:
        async def so() -> bool:
            return self.number("camino_rpc_duration_seconds_count", status=status) == number

        await eventually(so)


@pytest.fixture
def told() -> Told:
    return Told()


@asynccontextmanager
async def serving(
    told: Told, limits: StreamLimits = LOOKING, telemetry: Telemetry | None = None
) -> AsyncIterator[tuple[Served, grpc.aio.Channel]]:
    served = Served(told, limits, telemetry or Telemetry())
    served.target = f"127.0.0.1:{await served.server.start('127.0.0.1:0')}"
    try:
        async with open_channel(served.target) as channel:
            yield served, channel
    finally:
        await served.server.stop(0)


def watch(channel: grpc.aio.Channel, cursor: str, token: str = "ours", **asked: Any) -> Any:
    method = channel.unary_stream(
        f"/{METHOD}", wire.WatchMembershipsRequest.SerializeToString, wire.WatchMembershipsResponse.FromString
    )
    request = wire.WatchMembershipsRequest(**{"workspace_id": "shop", "cursor": cursor, **asked})
    return method(request, metadata=(("authorization", f"Bearer {token}"),), timeout=20)


async def read(call: Any) -> tuple[list[str], grpc.StatusCode]:
    """The cursors of all responses, and how it ends."""
    cursors = []
    try:
        while (response := await call.read()) is not grpc.aio.EOF:
            cursors.append(response.cursor)
    except grpc.aio.AioRpcError:
        pass
    return cursors, await call.code()


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"token": "nobody"}, CODE.UNAUTHENTICATED),
        ({"token": "others"}, CODE.PERMISSION_DENIED),
        ({"workspace_id": "other"}, CODE.PERMISSION_DENIED),
        ({"workspace_id": ""}, CODE.INVALID_ARGUMENT),
        ({"segment_ids": ["VIP"]}, CODE.INVALID_ARGUMENT),
    ],
)
async def test_a_request_is_looked_at_before_anything_is_told(
    told: Told, asked: dict[str, Any], code: grpc.StatusCode
) -> None:
    async with serving(told) as (_, channel):
        assert await read(watch(channel, "2", **asked)) == ([], code)
    assert not told.asked


@pytest.mark.parametrize(
    ("cursor", "told_before", "code"),
    [
        ("0", [], CODE.OK),
        ("2", ["1", "2"], CODE.OK),
        ("0 unknown", [], CODE.NOT_FOUND),
        ("2 unknown", ["1", "2"], CODE.NOT_FOUND),
        ("2 bug", ["1", "2"], CODE.INTERNAL),
    ],
)
async def test_it_ends_as_its_servicer_does(
    told: Told, cursor: str, told_before: list[str], code: grpc.StatusCode
) -> None:
    async with serving(told) as (served, channel):
        with capture_logs() as logs:
            call = watch(channel, cursor)
            assert await read(call) == (told_before, code)
        await served.counted(1, code.name)
        assert served.number("camino_rpc_streams") == served.number("camino_rpc_in_flight") == 0
    failed = [line["method"] for line in logs if line["event"] == "call failed"]
    assert failed == ([] if code is CODE.OK else [f"/{METHOD}"])
    assert told.closed.total() == 1
    if code is CODE.NOT_FOUND:
        error = from_rpc_error(
            grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata())
        )
        assert error.reason == reason_pb2.REASON_NOT_FOUND
        assert error.metadata == {"resource": "segment", "name": "vips"}


async def test_it_goes_on_no_faster_than_its_caller_reads(told: Told) -> None:
    """What is on its way in the connection is bounded. Who reads slowly holds up nobody else."""
    async with serving(told) as (served, channel), open_channel(served.target) as other:
        slow = watch(channel, "0 for ever")
        assert (await slow.read()).cursor == "1"
        before = 0
        while told.asked["for ever"] > before:
            before = told.asked["for ever"]
            assert await read(watch(other, "20")) == ([str(number) for number in range(1, 21)], CODE.OK)
        assert before < 10_000
        slow.cancel()
        await told.gone("for ever")


async def test_who_breaks_off_leaves_nothing_running(told: Told) -> None:
    async with serving(told) as (served, channel):
        with capture_logs() as logs:
            waiting, busy = watch(channel, "1 wait"), watch(channel, "0 for ever")
            assert (await waiting.read()).cursor == (await busy.read()).cursor == "1"
            waiting.cancel()
            await told.gone("wait")
            busy.cancel()
            await told.gone("for ever")
            await served.counted(2, "CANCELLED")
        assert not [line for line in logs if line["log_level"] == "error"]
        assert served.number("camino_rpc_streams") == served.number("camino_rpc_in_flight") == 0


async def test_a_server_that_stops_ends_it_at_once(told: Told) -> None:
    async with serving(told) as (served, channel), open_channel(served.target) as other:
        waiting, busy = watch(channel, "1 wait"), watch(other, "0 for ever")
        assert (await waiting.read()).cursor == (await busy.read()).cursor == "1"
        reading = asyncio.create_task(read(busy))
        assert served.number("camino_rpc_streams") == 2
        assert served.number("camino_rpc_in_flight") == 0
        await served.server.stop(10)
        assert await waiting.code() is CODE.UNAVAILABLE
        cursors, code = await reading
        assert code is CODE.UNAVAILABLE
        assert cursors == [str(number) for number in range(2, len(cursors) + 2)]
        assert told.closed == {"wait": 1, "for ever": 1}
        # It's no failure: both were answered.
        await served.counted(2, "OK")


@pytest.mark.parametrize(
    ("callers", "code"),
    [
        ({}, CODE.UNAUTHENTICATED),
        ({"ours": Caller("ours", Allowed.of(["segments.write"]), Allowed.of(["*"]))}, CODE.PERMISSION_DENIED),
        ({"ours": Caller("ours", Allowed.of(["*"]), Allowed.of(["other"]))}, CODE.PERMISSION_DENIED),
    ],
)
async def test_a_caller_who_may_do_less_now_is_told_no_more(
    told: Told, callers: dict[str, Caller], code: grpc.StatusCode
) -> None:
    async with serving(told) as (served, channel):
        call = watch(channel, "1 wait")
        assert (await call.read()).cursor == "1"
        served.callers = Callers({digest(token): caller for token, caller in callers.items()})
        assert await call.code() is code
        await told.gone("wait")


async def test_it_does_not_last_for_ever_and_that_is_no_failure(told: Told) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry = Telemetry(tracing=Tracing(provider.get_tracer("test")))
    async with serving(told, replace(LOOKING, life_s=0.05), telemetry) as (served, channel):
        call = watch(channel, "1 wait")
        assert await read(call) == (["1"], CODE.UNAVAILABLE)
        assert "open another" in await call.details()
        await told.gone("wait")
        await served.counted(1, "OK")
    [span] = spans.get_finished_spans()
    assert span.attributes is not None
    assert (span.name, span.attributes["rpc.grpc.status_code"]) == (METHOD, CODE.UNAVAILABLE.value[0])
    assert span.status.is_unset


async def test_only_so_many_are_told_at_a_time(told: Told) -> None:
    # Over a channel that tries nothing again.
    limits = replace(LOOKING, open=2)
    async with serving(told, limits) as (served, _), grpc.aio.insecure_channel(served.target) as channel:
        calls = [watch(channel, "1 wait"), watch(channel, "1 wait")]
        for call in calls:
            assert (await call.read()).cursor == "1"
        assert await read(watch(channel, "1")) == ([], CODE.UNAVAILABLE)
        calls[0].cancel()
        await told.gone("wait")
        assert await read(watch(channel, "1")) == (["1"], CODE.OK)
