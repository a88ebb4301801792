"""A gRPC server with what every service of ours has: the boundary, health, reflection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from services.chassis.callers import KnowsCallers
from services.chassis.interceptors import Boundary
from services.chassis.mounts import Mounts
from services.chassis.streams import StreamLimits
from services.chassis.telemetry import Telemetry

LIVE = "live"
"""The name by which `grpc.health.v1` tells that the process answers at all, whatever it stands on: for liveness, as the
empty name is for readiness."""

_MAX_MESSAGE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mounted:
    """A servicer, the generated function that adds it to a server, and the service's full name."""

    add: Callable[[Any, Any], None]
    servicer: Any
    service: str


class Server:
    """Serves some servicers on one address, to the callers it's given or to everybody. Encrypted with `credentials`."""

    def __init__(
        self,
        mounted: Sequence[Mounted] = (),
        callers: KnowsCallers | None = None,
        credentials: grpc.ServerCredentials | None = None,
        telemetry: Telemetry | None = None,
        streams: StreamLimits = StreamLimits(),  # noqa: B008 - it's a value that nobody changes
    ) -> None:
        self._credentials = credentials
        self._boundary = Boundary((), callers, telemetry or Telemetry(), streams)
        self._mounts = Mounts()
        self._names: list[str] = []
        self._health = health_aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=(self._boundary,),
            options=(
                ("grpc.max_receive_message_length", _MAX_MESSAGE),
                ("grpc.max_send_message_length", _MAX_MESSAGE),
                ("grpc.so_reuseport", 0),
                # Clients may keep idle connections alive, and reconnect now and then so that new replicas get their
                # share.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.max_connection_age_ms", 300_000),
                # A stream that was begun in a connection's last moment comes to its end all the same.
                ("grpc.max_connection_age_grace_ms", int(streams.life_s * 1000) + 30_000),
            ),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers((self._mounts,))
        self._health_server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._health_server)
        if mounted:
            self.mount(mounted)

    def mount(self, mounted: Sequence[Mounted]) -> None:
        """Serve these, once and all at the same time, before the start or after. Until then calls are answered with
        UNAVAILABLE. Raises `UndeclaredMethod`."""
        self._names = [mount.service for mount in mounted]
        self._boundary.guard(self._names)
        for mount in mounted:
            mount.add(mount.servicer, self._mounts)
        known = reflection_aio.ReflectionServicer([*self._names, HEALTH, reflection.SERVICE_NAME])
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(known, self._mounts)

    async def start(self, listen: str) -> int:
        """Serve on `address:port`, alive but not yet as healthy. Returns the port. Raises OSError when it's taken."""
        await self.set_serving(False)
        await self._health.set(LIVE, health_pb2.HealthCheckResponse.SERVING)
        return await _listen(self._server, listen, self._credentials)

    async def start_health(self, listen: str) -> int:
        """Serve `grpc.health.v1`, and nothing else, on another `address:port` in plaintext: for those who ask without
        TLS, as Kubernetes' probes do. Returns the port. Raises OSError when it's taken."""
        return await _listen(self._health_server, listen, None)

    async def set_serving(self, serving: bool) -> None:
        """Tell `grpc.health.v1`, for the whole server and each service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let those in flight finish within the grace. Streams are ended when what they have read is
        answered."""
        await self._health.enter_graceful_shutdown()
        self._boundary.drain()
        await self._server.stop(grace_s)
        await self._health_server.stop(0)


async def _listen(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        port: int = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"can't listen on {listen}: {error}") from None
    await server.start()
    return port
