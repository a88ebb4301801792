"""The whole stack with mutual TLS, by settings alone: services call each other, clients and commands call them, and
certificates are replaced under way."""

from __future__ import annotations

import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import trustme
from camino.client import Client, TlsFiles, connect
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.stack import ROOT, SERVICES, Stack
from services.chassis.testing import eventually
from tests import greeting
from tests.certificates import Mounted, mounted
from tests.servers import nats_server

WORKSPACE = "sealed"


@asynccontextmanager
async def sealed(directory: Path, files: Mounted, sent: Path) -> AsyncIterator[tuple[Stack, Client]]:
    """A stack that takes calls with a certificate of ours only, and a client that has one."""
    told = {
        "CAMINO_TLS_CERT_FILE": str(files.cert),
        "CAMINO_TLS_KEY_FILE": str(files.key),
        "CAMINO_TLS_CLIENT_CA_FILE": str(files.ca),
        "CAMINO_TLS_CA_FILE": str(files.ca),
        "CAMINO_LOG_PROVIDER_FILE": str(sent),
    }
    with nats_server() as nats:
        stack = Stack(directory, dict.fromkeys(SERVICES, 0), dict.fromkeys(SERVICES, told), nats_url=nats.url)
        stack.prepare()
        try:
            for name in SERVICES:
                stack.start_one(name)
            targets = {name: stack.target(name) for name in SERVICES}
            async with connect(**targets, credentials=TlsFiles(files.ca, files.cert, files.key)) as client:
                await eventually(lambda: all_serve(stack, client), within_s=30)
                yield stack, client
        finally:
            stack.stop()


async def all_serve(stack: Stack, client: Client) -> bool:
    stack.check()
    for name in SERVICES:
        try:
            reply = await health_pb2_grpc.HealthStub(client.channel(name)).Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError:
            return False
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            return False
    return True


async def test_a_journey_through_four_services_and_past_a_change_of_authority(tmp_path: Path) -> None:
    first, second = trustme.CA(), trustme.CA()
    files, sent = mounted(tmp_path / "tls", first, first), tmp_path / "sent.jsonl"
    async with sealed(tmp_path / "data", files, sent) as (stack, client):
        await greeting.publish(client, WORKSPACE)
        await greeting.signup(client, WORKSPACE, "ana")
        await greeting.greeted(sent, "ana")
        assert await command(stack, files) == 0

        files.hold(second, second)
        await greeting.signup(client, WORKSPACE, "bea")
        await greeting.greeted(sent, "ana", "bea")
        assert await command(stack, files) == 0


async def command(stack: Stack, files: Mounted) -> int:
    """The exit status of a `camino` command that asks a service."""
    targets = [word for name in SERVICES for word in (f"--{name}-target", stack.target(name))]
    tls = ["--tls-ca", files.ca, "--tls-cert", files.cert, "--tls-key", files.key]
    words = ["dead-letters", "list", "--service", "profile", *targets, *map(str, tls)]
    child = await create_subprocess_exec(sys.executable, "-m", "cli.main", *words, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    await child.communicate()
    assert child.returncode is not None
    return child.returncode
