"""What a service says of itself by `grpc.health.v1`, which is what Kubernetes asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.clients import open_channel
from services.chassis.errors import StoreUnavailable
from services.chassis.health import HealthWatch
from services.chassis.metrics import Metrics
from services.chassis.server import LIVE, Server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def health_of(server: Server) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    port = await server.start("127.0.0.1:0")
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield health_pb2_grpc.HealthStub(channel)
    finally:
        await server.stop(1)


async def status(health: health_pb2_grpc.HealthStub, name: str) -> int:
    reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
    return int(reply.status)


async def test_a_service_is_alive_from_the_start_and_ready_when_it_says_so() -> None:
    server = Server([])
    async with health_of(server) as health:
        assert await status(health, LIVE) == SERVING
        assert await status(health, "") == NOT_SERVING
        await server.set_serving(True)
        assert await status(health, "") == SERVING


async def test_a_store_that_is_away_ends_readiness_and_not_life() -> None:
    away = False

    async def store() -> None:
        if away:
            raise StoreUnavailable("away")

    server = Server([])
    async with health_of(server) as health:
        watch = HealthWatch(server, {"store": store})
        await watch.check()
        assert await status(health, "") == SERVING
        away = True
        await watch.check()
        assert await status(health, "") == NOT_SERVING
        assert await status(health, LIVE) == SERVING
        away = False
        await watch.check()
        assert await status(health, "") == SERVING


async def test_what_fails_is_a_metric() -> None:
    metrics, away = Metrics(), True

    async def store() -> None:
        if away:
            raise StoreUnavailable("away")

    async def broker() -> None: ...

    def told(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    server = Server([])
    async with health_of(server):
        watch = HealthWatch(server, {"store": store, "broker": broker}, metrics)
        await watch.check()
        assert told("camino_serving") == 0
        assert told("camino_probe_up", probe="store") == 0
        assert told("camino_probe_up", probe="broker") == 1
        away = False
        await watch.check()
        assert told("camino_serving") == told("camino_probe_up", probe="store") == 1
