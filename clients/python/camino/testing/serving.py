"""Servers for tests that serve all of Camino's services on one address, in the test's process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from threading import Thread
from types import TracebackType
from typing import Self, TypeAlias

import grpc
from camino.testing.rpcs import Rpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

Handlers: TypeAlias = "Mapping[Rpc, grpc.RpcMethodHandler[Message, Message]]"

_MAX_MESSAGE = 16 * 1024 * 1024
OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
)


class Served:
    """Serves while it's entered: by `async with` on the running event loop, by `with` on a loop and a thread of its
    own. Calls under way at the end are cancelled."""

    def __init__(self, listen: str) -> None:
        """`listen`: host and port, where port 0 is a free one."""
        self._listen = listen
        self._target = ""
        self._exits = AsyncExitStack()

    @property
    def target(self) -> str:
        """The address of all services, while they're served."""
        return self._target

    async def handlers(self, exits: AsyncExitStack) -> Handlers:
        """How methods are answered. What is opened for it is left on `exits`, to be closed at the end."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as exits:
            self._target = await _serve(await self.handlers(exits), self._listen, exits)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    def __enter__(self) -> Self:
        started: Future[None] = Future()
        self._thread = Thread(target=lambda: asyncio.run(self._live(started)), name=type(self).__name__)
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _live(self, started: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self.__aenter__()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await self._stopping.wait()
        await self.__aexit__(None, None, None)


async def _serve(handlers: Handlers, listen: str, exits: AsyncExitStack) -> str:
    """Start a server with reflection and health. Where it listens. Raises OSError when that's taken."""
    services: defaultdict[str, dict[str, grpc.RpcMethodHandler[Message, Message]]] = defaultdict(dict)
    for rpc, handler in handlers.items():
        services[rpc.service][rpc.method] = handler
    server = grpc.aio.server(options=OPTIONS)
    for name, methods in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    healthy = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection((*services, HEALTH, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"can't listen on {listen}: {error}") from None
    for name in ("", *services):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    exits.push_async_callback(server.stop, 0)
    return f"{listen.rpartition(':')[0]}:{port}"
