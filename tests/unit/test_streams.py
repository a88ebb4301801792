"""Methods that stream both ways, at the boundary: a small service of their own, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from buf.validate import validate_pb2
from camino.options.v1 import options_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from structlog.testing import capture_logs

from services.chassis.app import App
from services.chassis.callers import Allowed, Caller, Callers, digest
from services.chassis.errors import NotFound
from services.chassis.interceptors import UndeclaredMethod, describe
from services.chassis.server import Mounted
from services.chassis.testing import serving

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
    for service, to, back in (("Echo", True, True), ("OneWay", False, True)):
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


class Echo:
    """Says again what it hears, but for what it doesn't know or trips over."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def say(self, words: AsyncIterator[Any], context: object) -> AsyncIterator[Any]:
        async for word in words:
            self.heard.append(word.text)
            if word.text == "unknown":
                raise NotFound.of("word", word.text)
            if word.text == "bug":
                raise ValueError("tripped")
            yield word


def _add(servicer: Echo, server: Any) -> None:
    handler = grpc.stream_stream_rpc_method_handler(servicer.say, Word.FromString, Word.SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{PACKAGE}.Echo", {"Say": handler}),))


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def channel(echo: Echo) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(App([Mounted(_add, echo, f"{PACKAGE}.Echo")], []), CALLERS) as channel:
        yield channel


def say(channel: grpc.aio.Channel, token: str = "ours") -> Any:
    method = channel.stream_stream(f"/{PACKAGE}.Echo/Say", Word.SerializeToString, Word.FromString)
    return method(metadata=(("authorization", f"Bearer {token}"),), timeout=10)


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


def test_a_method_that_streams_one_way_is_not_served() -> None:
    with pytest.raises(UndeclaredMethod, match="Say streams one way"):
        describe(f"{PACKAGE}.OneWay")
