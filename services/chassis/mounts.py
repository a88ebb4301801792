"""Handlers of calls that may come after the server has started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

import grpc

from services.chassis.errors import Unavailable
from services.chassis.rpc_errors import abort


class Mounts(grpc.GenericRpcHandler):
    """What a server serves so far. Before there is anything, every call is answered with UNAVAILABLE, which clients try
    again elsewhere.

    To the generated `add_..._to_server` functions this is the server: gRPC's own takes no handlers once it has started.
    """

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]) -> None:
        """The same handlers as above, for servers that look them up by name."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if not self._handlers:
            # Of whatever kind the call is: it ends before a message is read.
            return grpc.stream_stream_rpc_method_handler(_starting)
        for handler in self._handlers:
            if found := handler.service(handler_call_details):
                return found
        return None


async def _starting(_requests: object, context: grpc.aio.ServicerContext) -> NoReturn:
    await abort(context, Unavailable("the service is starting: it waits for its store or its broker"))
