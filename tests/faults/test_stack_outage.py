"""A broker or a store that can't be used for a while: UNAVAILABLE and NOT_SERVING, and all is well again by itself."""

from __future__ import annotations

import asyncio
import resource

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from bench.fixture import Measured, measured
from cli.stack import SERVICES
from services.chassis.testing import eventually
from tests.servers import secantusd

WORKSPACE = "outage"
PEOPLE = 40


async def health(stack: Measured, service: str) -> int:
    async with grpc.aio.insecure_channel(stack.stack.target(service)) as channel:
        reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return int(reply.status)


async def all_are(stack: Measured, status: int, services: tuple[str, ...] = SERVICES) -> None:
    async def probe() -> bool:
        return all([await health(stack, name) == status for name in services])

    await eventually(probe, within_s=20)


async def test_without_a_broker_nothing_is_lost_and_health_says_so() -> None:
    async with measured() as stack:
        await stack.people(WORKSPACE, PEOPLE)
        await stack.publish(WORKSPACE)
        stack.stack.kill("nats")
        await all_are(stack, health_pb2.HealthCheckResponse.NOT_SERVING)
        # Taking events needs no broker: they're durable, and published when it's back.
        await stack.events(WORKSPACE, "s", range(PEOPLE), "signup")
        stack.stack.start_one("nats")
        await all_are(stack, health_pb2.HealthCheckResponse.SERVING)
        await stack.wait_accepted(PEOPLE, within_s=30)


async def test_a_full_disk_is_unavailable_and_passes() -> None:
    async with measured() as stack:
        await stack.people(WORKSPACE, PEOPLE)
        pid = stack.stack.pid("profile")
        # No file of the process may grow or be written beyond its first page: what a full disk does to a database.
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stack.events(WORKSPACE, "p", range(PEOPLE), "purchase")
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert _reason(refused.value) == "STORE_UNAVAILABLE"
        await all_are(stack, health_pb2.HealthCheckResponse.NOT_SERVING, ("profile",))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        await all_are(stack, health_pb2.HealthCheckResponse.SERVING, ("profile",))
        await stack.events(WORKSPACE, "p", range(PEOPLE), "purchase")


async def test_a_broker_with_a_full_disk_loses_nothing_and_health_says_so() -> None:
    async with measured() as stack:
        await stack.people(WORKSPACE, PEOPLE)
        await stack.publish(WORKSPACE)
        await stack.events(WORKSPACE, "p", range(PEOPLE), "purchase")
        await stack.members(WORKSPACE, PEOPLE)
        resource.prlimit(stack.stack.pid("nats"), resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        await stack.events(WORKSPACE, "s", range(PEOPLE), "signup")
        await all_are(stack, health_pb2.HealthCheckResponse.NOT_SERVING, ("profile",))
        # JetStream doesn't write to such a stream again until it's restarted, as its orchestration would do.
        stack.stack.kill("nats")
        stack.stack.start_one("nats")
        await all_are(stack, health_pb2.HealthCheckResponse.SERVING)
        await stack.wait_accepted(PEOPLE, within_s=30)


async def test_a_mongodb_that_hangs_is_waited_for_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with secantusd() as mongodb_uri:
        monkeypatch.setenv("MONGODB_URI", mongodb_uri)
        [store] = [child for child in psutil.Process().children() if child.name() == "secantusd-rs"]
        async with measured() as stack:
            await stack.people(WORKSPACE, PEOPLE)
            await stack.publish(WORKSPACE)
            store.suspend()
            await all_are(stack, health_pb2.HealthCheckResponse.NOT_SERVING)
            store.resume()
            await all_are(stack, health_pb2.HealthCheckResponse.SERVING)
            await stack.events(WORKSPACE, "s", range(PEOPLE), "signup")
            await stack.wait_accepted(PEOPLE, within_s=30)


async def test_a_service_that_is_away_is_waited_for() -> None:
    async with measured() as stack:
        await stack.people(WORKSPACE, PEOPLE)
        await stack.publish(WORKSPACE)
        stack.stack.kill("segment")
        # Runs need memberships to go on: they wait, durable, until the segment service answers again.
        await stack.events(WORKSPACE, "s", range(PEOPLE), "signup")
        await asyncio.to_thread(stack.stack.start_one, "segment")
        await stack.wait_accepted(PEOPLE, within_s=40)


def _reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.reason)
