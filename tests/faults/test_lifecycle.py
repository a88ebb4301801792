"""A process from its start to its end: it waits for what it stands on, and goes when asked, leaving nothing undone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from camino.client.errors import from_rpc_error
from camino.ops.v1 import dead_letter_service_pb2, dead_letter_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.fixture import Measured, measured
from cli.ports import free_port
from cli.stack import ROOT, SERVICES, Stack
from services.chassis.server import LIVE
from services.chassis.testing import eventually
from tests.faults.retrying import retried
from tests.faults.test_stack_crash import SHORT, accepted, per_address
from tests.servers import nats_server, secantusd

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WORKSPACE = "life"
PEOPLE = 600
DRAIN_S = 10
"""What CAMINO_DRAIN_SECONDS is when nobody says otherwise."""


@asynccontextmanager
async def one_service(directory: Path, name: str, **told: str) -> AsyncIterator[Stack]:
    """A service in a process of its own, started but not waited for."""
    stack = Stack(directory, dict.fromkeys(SERVICES, 0), {name: told}, nats_url=told["NATS_URL"])
    stack.prepare()
    stack.start_one(name)
    try:
        yield stack
    finally:
        stack.stop()


async def health(stack: Stack, name: str, asked: str = "") -> int:
    """What it says of itself; 0 while it doesn't listen."""
    async with grpc.aio.insecure_channel(stack.target(name)) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=asked))
        except grpc.aio.AioRpcError:
            return 0
        return int(reply.status)


async def becomes(stack: Stack, name: str, status: int, asked: str = "") -> None:
    async def probe() -> bool:
        stack.check()
        return await health(stack, name, asked) == status

    await eventually(probe, within_s=30)


async def ends(stack: Stack, name: str, within_s: float) -> int:
    """Ask a service to end; its exit status."""
    began = time.monotonic()
    status = await asyncio.to_thread(stack.stop_one, name)
    assert time.monotonic() - began < within_s
    return status


@pytest.mark.parametrize("name", SERVICES)
async def test_one_that_waits_for_its_broker_is_alive_refuses_calls_and_ends_at_once(name: str, tmp_path: Path) -> None:
    with ExitStack() as held:
        nowhere = f"nats://127.0.0.1:{free_port(held)}"
        async with one_service(tmp_path, name, NATS_URL=nowhere) as stack:
            await becomes(stack, name, SERVING, LIVE)
            assert await health(stack, name) == NOT_SERVING
            async with grpc.aio.insecure_channel(stack.target(name)) as channel:
                letters = dead_letter_service_pb2_grpc.DeadLetterServiceStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await letters.ListDeadLetters(dead_letter_service_pb2.ListDeadLettersRequest())
            error = from_rpc_error(refused.value)
            assert (error.status, error.reason_name) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
            assert await ends(stack, name, within_s=3) == 0


async def test_a_broker_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    with nats_server() as nats:
        nats.stop()
        async with one_service(tmp_path, "profile", NATS_URL=nats.url) as stack:
            await becomes(stack, "profile", NOT_SERVING)
            nats.start()
            await becomes(stack, "profile", SERVING)
            assert await ends(stack, "profile", within_s=5) == 0


@pytest.mark.parametrize("migrates", ["true", "false"])
async def test_a_store_that_comes_late_is_waited_for(migrates: str, tmp_path: Path) -> None:
    with nats_server() as nats, ExitStack() as later:
        port = free_port(later)
        told = {
            "NATS_URL": nats.url,
            "MONGODB_URI": f"mongodb://127.0.0.1:{port}/?retryWrites=false",
            "CAMINO_MIGRATE_ON_START": migrates,
        }
        async with one_service(tmp_path, "profile", **told) as stack:
            await becomes(stack, "profile", SERVING, LIVE)
            assert await health(stack, "profile") == NOT_SERVING
            later.enter_context(secantusd(port))
            await becomes(stack, "profile", SERVING)
            assert await ends(stack, "profile", within_s=5) == 0


async def test_one_that_its_broker_no_longer_knows_ends_to_be_started_with_another_password(tmp_path: Path) -> None:
    users = tmp_path / "users.conf"

    def know(password: str) -> None:
        users.write_text(f"authorization {{ users: [ {{ user: profile, password: {password} }} ] }}")

    know("first")
    with nats_server(users) as nats:
        async with one_service(tmp_path, "profile", NATS_URL=nats.url_of("profile", "first")) as stack:
            await becomes(stack, "profile", SERVING)
            know("second")
            nats.reload()
            assert await asyncio.to_thread(stack.wait_ended, "profile") == 1
            assert "ended the connection for good" in stack.last_words("profile")


@pytest.mark.parametrize("name", SERVICES)
async def test_one_that_is_asked_to_end_under_load_loses_nothing_and_doubles_nothing(name: str) -> None:
    async with measured(**SHORT) as stack:
        await stack.people(WORKSPACE, PEOPLE)
        await stack.publish(WORKSPACE)
        coming = asyncio.create_task(signups(stack))
        await sent(stack, PEOPLE // 4)
        assert await ends(stack.stack, name, within_s=DRAIN_S + 3) == 0
        stack.stack.start_one(name)
        await asyncio.to_thread(stack.stack.wait_serving)
        await coming
        await everyone_has_one(stack)


async def test_migrations_run_again_together_and_beside_running_services(monkeypatch: pytest.MonkeyPatch) -> None:
    with secantusd() as mongodb, nats_server() as nats:
        monkeypatch.setenv("MONGODB_URI", mongodb)
        monkeypatch.setenv("NATS_URL", nats.url)
        # Before there is anything: four of each at the same time.
        await migrate(times=4)
        async with measured(**SHORT) as stack:
            await stack.people(WORKSPACE, PEOPLE)
            await stack.publish(WORKSPACE)
            coming = asyncio.create_task(signups(stack))
            await sent(stack, PEOPLE // 4)
            await migrate(times=2)
            await coming
            await everyone_has_one(stack)


async def migrate(times: int) -> None:
    """Run every service's migration so many times at once; none may complain."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "gen"), str(ROOT / "clients/python")])

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"services.{name}", "migrate"]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)

    results = await asyncio.gather(*(asyncio.to_thread(run, name) for name in SERVICES for _ in range(times)))
    for result in results:
        assert result.returncode == 0, result.stderr


async def signups(stack: Measured) -> None:
    """Everybody signs up, in small calls that are repeated while the profile service is away."""
    for start in range(0, PEOPLE, 20):
        people = range(start, start + 20)
        await retried(lambda people=people: stack.events(WORKSPACE, "s", people, "signup"))


async def sent(stack: Measured, count: int) -> None:
    async def probe() -> bool:
        return sum(accepted(stack).values()) >= count

    await eventually(probe, within_s=60)


async def everyone_has_one(stack: Measured) -> None:
    await sent(stack, PEOPLE)
    assert max(accepted(stack).values()) == 1
    assert per_address(stack) == Counter({f"{WORKSPACE}-{number}@example.com": 1 for number in range(PEOPLE)})
