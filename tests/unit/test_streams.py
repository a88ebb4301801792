"""Methods that stream both ways, at the boundary: a small service of their own, over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from buf.validate import validate_pb2
from camino.options.v1 import options_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from services.chassis.callers import Allowed, Caller, Callers, digest
from services.chassis.clients import open_channel
from services.chassis.errors import NotFound
from services.chassis.methods import UndeclaredMethod, describe
from services.chassis.server import Mounted, Server
from services.chassis.streams import StreamLimits
from services.chassis.telemetry import Telemetry
from services.chassis.testing import eventually
from services.chassis.tracing import Tracing

PACKAGE = "test.streams"
CALLERS = Callers(
    {
        digest("ours"): Caller("ours", Allowed.of(["words.write"]), Allowed.of(["shop"])),
        digest("others"): Caller("others", Allowed.of(["words.read"]), Allowed.of(["*"])),
    }
)


def _declare() -> Any:
    """The service's protos, declared by hand; the class of its one message."""
    file = descriptor_pb2.FileDescriptorProto(
        name="test_streams.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=["camino/options/v1/options.proto", "buf/validate/validate.proto"],
    )
    message = file.message_type.add(name="Word")
    for number, name in enumerate(("workspace_id", "text"), 1):
        field = message.field.add(
            name=name, number=number, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING, label=1
        )
        field.options.Extensions[validate_pb2.field].string.max_bytes = 8
    for service, to, back in (("Echo", True, True), ("OneWay", True, False)):
        method = file.service.add(name=service).method.add(
            name="Say",
            input_type=f".{PACKAGE}.Word",
            output_type=f".{PACKAGE}.Word",
            client_streaming=to,
            server_streaming=back,
        )
        method.options.idempotency_level = descriptor_pb2.MethodOptions.IDEMPOTENT
        method.options.Extensions[options_pb2.required_scope] = "words.write"
    descriptor_pool.Default().Add(file)
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.Word"))


Word = _declare()
LIMITS = StreamLimits(unanswered=3)
MUCH = 64 * 1024


class Echo:
    """Says again what it hears, but for what it doesn't know or trips over, or keeps to itself until it's let go."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.broken_off: list[str] = []
        self.let_go = asyncio.Event()

    async def say(self, word: Any, context: object) -> Any:
        self.heard.append(word.text)
        if word.text == "unknown":
            raise NotFound.of("word", word.text)
        if word.text == "bug":
            raise ValueError("tripped")
        if word.text == "much":
            return Word(text="x" * MUCH)
        if word.text.startswith("keep"):
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.broken_off.append(word.text)
                raise
        return word


class Listed:
    """Callers, of whom one may be taken from the list."""

    def __init__(self) -> None:
        self.callers = CALLERS

    def find(self, token: str) -> Caller | None:
        return self.callers.find(token)


def _add(servicer: Echo, server: Any) -> None:
    handler = grpc.stream_stream_rpc_method_handler(servicer.say, Word.FromString, Word.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{PACKAGE}.Echo", {"Say": handler}),))


class Served:
    """The service, who may call it, and what is told of it."""

    def __init__(self, echo: Echo, limits: StreamLimits, telemetry: Telemetry) -> None:
        self.target = ""
        self.telemetry = telemetry
        self.listed = Listed()
        mounted = [Mounted(_add, echo, f"{PACKAGE}.Echo")]
        self.server = Server(mounted, self.listed, telemetry=self.telemetry, streams=limits)

    def number(self, name: str, **labels: str) -> float | None:
        labels["method"] = f"{PACKAGE}.Echo/Say"
        return self.telemetry.metrics.registry.get_sample_value(name, labels)

    async def until(self, number: float, name: str, **labels: str) -> None:
        async def so() -> bool:
            return self.number(name, **labels) == number

        await eventually(so)


@asynccontextmanager
async def served(
    echo: Echo, limits: StreamLimits = LIMITS, telemetry: Telemetry | None = None
) -> AsyncIterator[tuple[Served, grpc.aio.Channel]]:
    found = Served(echo, limits, telemetry or Telemetry())
    found.target = f"127.0.0.1:{await found.server.start('127.0.0.1:0')}"
    try:
        async with open_channel(found.target) as channel:
            yield found, channel
    finally:
        await found.server.stop(0)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def channel(echo: Echo) -> AsyncIterator[grpc.aio.Channel]:
    async with served(echo) as (_, channel):
        yield channel


def say(channel: grpc.aio.Channel, token: str = "ours") -> Any:
    method = channel.stream_stream(f"/{PACKAGE}.Echo/Say", Word.SerializeToString, Word.FromString)
    return method(metadata=(("authorization", f"Bearer {token}"),), timeout=10)


async def write(call: Any, *texts: str) -> None:
    for text in texts:
        await call.write(Word(workspace_id="shop", text=text))


async def heard(echo: Echo, *texts: str) -> None:
    async def so() -> bool:
        return echo.heard == list(texts)

    await eventually(so)


async def test_a_stream_answers_while_it_goes_on(channel: grpc.aio.Channel, echo: Echo) -> None:
    call = say(channel)
    for text in ("one", "two"):
        await call.write(Word(workspace_id="shop", text=text))
        assert (await call.read()).text == text
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert echo.heard == ["one", "two"]


@pytest.mark.parametrize(
    ("token", "code"),
    [("nobody", grpc.StatusCode.UNAUTHENTICATED), ("others", grpc.StatusCode.PERMISSION_DENIED)],
)
async def test_who_may_not_is_refused_before_anything_is_said(
    channel: grpc.aio.Channel, echo: Echo, token: str, code: grpc.StatusCode
) -> None:
    assert await say(channel, token).code() is code
    assert not echo.heard


@pytest.mark.parametrize(
    ("workspace_id", "text", "code", "heard"),
    [
        ("shop", "far too long", grpc.StatusCode.INVALID_ARGUMENT, ["one"]),
        ("other", "two", grpc.StatusCode.PERMISSION_DENIED, ["one"]),
        ("shop", "unknown", grpc.StatusCode.NOT_FOUND, ["one", "unknown"]),
        ("shop", "bug", grpc.StatusCode.INTERNAL, ["one", "bug"]),
    ],
)
async def test_each_message_is_looked_at(
    channel: grpc.aio.Channel, echo: Echo, workspace_id: str, text: str, code: grpc.StatusCode, heard: list[str]
) -> None:
    with capture_logs() as logs:
        call = say(channel)
        await call.write(Word(workspace_id="shop", text="one"))
        assert (await call.read()).text == "one"
        await call.write(Word(workspace_id=workspace_id, text=text))
        assert await call.code() is code
    assert echo.heard == heard
    assert [line["method"] for line in logs if line["event"] == "call failed"] == [f"/{PACKAGE}.Echo/Say"]


async def test_requests_are_carried_out_side_by_side_and_answered_in_order(
    channel: grpc.aio.Channel, echo: Echo
) -> None:
    call = say(channel)
    await write(call, "keep", "two", "three", "four")
    # The fourth isn't read before the first is answered.
    await heard(echo, "keep", "two", "three")
    echo.let_go.set()
    assert [(await call.read()).text for _ in range(4)] == ["keep", "two", "three", "four"]


async def test_who_does_not_read_is_not_read_from(echo: Echo) -> None:
    """What is on its way in the connection is bounded; beyond that, nothing is taken in and nothing carried out."""
    async with served(echo) as (found, channel), open_channel(found.target) as other:
        call, quick = say(channel), say(other)
        await write(call, *["much"] * 2_000)
        for _ in range(500):
            await write(quick, "one")
            assert (await quick.read()).text == "one"
        taken = echo.heard.count("much")
        assert 0 < taken < 500
        for _ in range(2_000):
            assert len((await call.read()).text) == MUCH
        assert echo.heard.count("much") == 2_000


async def test_what_was_asked_before_a_fault_is_answered_and_nothing_after_it_is_begun(
    channel: grpc.aio.Channel, echo: Echo
) -> None:
    call = say(channel)
    await write(call, "keep", "far too long", "three")
    await heard(echo, "keep")
    echo.let_go.set()
    assert (await call.read()).text == "keep"
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert echo.heard == ["keep"]


async def test_who_breaks_off_leaves_nothing_running(channel: grpc.aio.Channel, echo: Echo) -> None:
    call = say(channel)
    await write(call, "keep 1", "keep 2")
    await heard(echo, "keep 1", "keep 2")
    call.cancel()

    async def gone() -> bool:
        return sorted(echo.broken_off) == ["keep 1", "keep 2"]

    await eventually(gone)


async def test_a_server_that_stops_answers_what_it_has_read(echo: Echo) -> None:
    async with served(echo) as (found, channel):
        idle, busy = say(channel), say(channel)
        await write(idle, "idle")
        assert (await idle.read()).text == "idle"
        await write(busy, "keep 1", "keep 2", "keep 3", "keep 4")
        await heard(echo, "idle", "keep 1", "keep 2", "keep 3")
        stopping = asyncio.create_task(found.server.stop(10))
        assert await idle.code() is grpc.StatusCode.UNAVAILABLE
        echo.let_go.set()
        assert [(await busy.read()).text for _ in range(3)] == ["keep 1", "keep 2", "keep 3"]
        assert await busy.code() is grpc.StatusCode.UNAVAILABLE
        await stopping
    assert echo.heard == ["idle", "keep 1", "keep 2", "keep 3"]


async def test_a_caller_who_is_taken_from_the_list_is_sent_away(echo: Echo) -> None:
    async with served(echo, replace(LIMITS, look_s=0.01)) as (found, channel):
        idle, busy = say(channel), say(channel)
        await write(idle, "idle")
        assert (await idle.read()).text == "idle"
        await write(busy, "keep")
        await heard(echo, "idle", "keep")
        found.listed.callers = Callers({})
        assert await idle.code() is grpc.StatusCode.UNAUTHENTICATED
        echo.let_go.set()
        assert (await busy.read()).text == "keep"
        assert await busy.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_caller_who_may_do_less_now_does_less(echo: Echo) -> None:
    async with served(echo, replace(LIMITS, look_s=0.01)) as (found, channel):
        call = say(channel)
        await write(call, "one")
        assert (await call.read()).text == "one"
        elsewhere = Caller("ours", Allowed.of(["words.write"]), Allowed.of(["other"]))
        found.listed.callers = Callers({digest("ours"): elsewhere})

        async def refused() -> bool:
            if not call.done():
                await write(call, "two")
                return await call.read() is grpc.aio.EOF
            return True

        with pytest.raises(grpc.aio.AioRpcError) as error:
            await eventually(refused)
        assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_stream_does_not_last_for_ever(echo: Echo) -> None:
    async with served(echo, replace(LIMITS, look_s=0.01, life_s=0.05)) as (_, channel):
        call = say(channel)
        await write(call, "one")
        assert (await call.read()).text == "one"
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert "open another" in await call.details()


async def test_there_are_only_so_many_streams(echo: Echo) -> None:
    async with served(echo, replace(LIMITS, open=2)) as (found, channel):
        calls = [say(channel), say(channel)]
        for call in calls:
            await write(call, "one")
            assert (await call.read()).text == "one"
        assert found.number("camino_rpc_streams") == 2
        assert await say(channel).code() is grpc.StatusCode.UNAVAILABLE
        calls[0].cancel()
        await found.until(1, "camino_rpc_streams")
        call = say(channel)
        await write(call, "two")
        assert (await call.read()).text == "two"


async def test_each_request_is_counted_as_a_call(echo: Echo) -> None:
    async with served(echo) as (found, channel):
        call = say(channel)
        await write(call, "one", "two", "keep")
        await heard(echo, "one", "two", "keep")
        assert found.number("camino_rpc_streams") == 1
        assert found.number("camino_rpc_in_flight") == 1
        assert found.number("camino_rpc_duration_seconds_count", status="OK") == 2
        echo.let_go.set()
        await write(call, "far too long")
        await found.until(1, "camino_rpc_duration_seconds_count", status="INVALID_ARGUMENT")
        await found.until(0, "camino_rpc_streams")
        assert found.number("camino_rpc_duration_seconds_count", status="OK") == 3
        assert found.number("camino_rpc_in_flight") == 0


async def test_each_request_begins_a_trace_of_its_own(echo: Echo) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with served(echo, telemetry=Telemetry(tracing=Tracing(provider.get_tracer("test")))) as (_, channel):
        call = say(channel)
        await write(call, "one", "two")
        await call.done_writing()
        assert [word.text async for word in call] == ["one", "two"]

        async def ended() -> bool:
            return len(spans.get_finished_spans()) == 3

        await eventually(ended)
    found = spans.get_finished_spans()
    assert [span.name for span in found] == [f"{PACKAGE}.Echo/Say"] * 3
    assert len({span.context.trace_id for span in found if span.context}) == 3


def test_a_method_that_streams_its_requests_only_is_not_served() -> None:
    with pytest.raises(UndeclaredMethod, match="Say streams its requests only"):
        describe(f"{PACKAGE}.OneWay")
