"""The crash table of the send protocol: the real process, killed at each of its points, on a real broker and relay."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from camino.channels.v1 import message_pb2, message_service_pb2, message_service_pb2_grpc
from camino.channels.v1 import template_service_pb2 as templates_pb2
from camino.channels.v1 import template_service_pb2_grpc as templates_grpc
from camino.channels.v1.channels_events_pb2 import MessageSettled
from camino.orchestrator.v1.orchestrator_events_pb2 import SendRequested
from camino.type.v1 import messaging_pb2

from services.chassis.broker import Broker, StreamSpec
from services.chassis.clients import open_channel
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.testing import eventually
from tests.servers import nats_server
from tests.smtp import SmtpServer, smtp_server

ROOT = Path(__file__).parents[2]
STATE = message_pb2.MessageState
ENDS = {STATE.MESSAGE_STATE_SENT, STATE.MESSAGE_STATE_UNKNOWN, STATE.MESSAGE_STATE_FAILED}


class World:
    """A broker, a relay, a directory; and the process of the channels service, which comes and goes."""

    def __init__(self, nats_url: str, broker: Broker, relay: SmtpServer, directory: Path) -> None:
        self.relay = relay
        self.broker = broker
        self.settled: list[MessageSettled] = []
        self._nats_url = nats_url
        self._directory = directory
        self._port_file = directory / "port"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, crash_at: str = "") -> str:
        """Start it. Where it listens, once it does."""
        self._port_file.unlink(missing_ok=True)
        settings = {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "NATS_URL": self._nats_url,
            "CAMINO_DATA_DIR": str(self._directory / "store"),
            "CAMINO_PORT_FILE": str(self._port_file),
            "CAMINO_MIGRATE_ON_START": "true",
            "CAMINO_PARTITIONS": "2",
            "CAMINO_EMAIL_PROVIDER": "smtp",
            "CAMINO_SMTP_HOST": "127.0.0.1",
            "CAMINO_SMTP_PORT": str(self.relay.port),
            "CAMINO_SMTP_CONNECTIONS": "4",
            "CAMINO_PROVIDER_TIMEOUT_SECONDS": "0.5",
            "CAMINO_LEASE_SECONDS": "1",
            "CAMINO_ACK_WAIT_SECONDS": "1",
            "CAMINO_CRASH_AT": crash_at,
        }
        self._spawn(settings)

        async def port() -> str:
            assert self._process is not None
            assert self._process.poll() is None, (self._directory / "log").read_text()
            return self._port_file.read_text() if self._port_file.exists() else ""

        return f"127.0.0.1:{await eventually(port, within_s=30)}"

    def _spawn(self, settings: dict[str, str]) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.channels"],
                env={**os.environ, **settings},
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def died(self) -> None:
        assert self._process is not None
        assert await asyncio.to_thread(self._process.wait, 30) == -signal.SIGKILL

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def request(self, send_ids: list[str]) -> None:
        batch = []
        for send_id in send_ids:
            request = SendRequested(
                workspace_id="demo",
                send_id=send_id,
                profile_id="p",
                channel=messaging_pb2.CHANNEL_EMAIL,
                endpoint=f"{send_id}@example.com",
                template_id="welcome",
                source_key=f"run:{send_id}",
            )
            request.not_after.GetCurrentTime()
            request.not_after.seconds += 600
            subject = subject_of(SendRequested, "demo", 0, request.source_key)
            batch.append(Outgoing(subject, request, send_id))
        await Publisher(self.broker, "test").publish(batch)

    def accepts(self, send_id: str) -> int:
        return sum(mail.recipient == f"{send_id}@example.com" for mail in self.relay.accepted)


@pytest.fixture(scope="module")
def nats_url() -> Iterator[str]:
    with nats_server() as server:
        yield server.url


@pytest.fixture
async def world(nats_url: str, tmp_path: Path) -> AsyncIterator[World]:
    broker = await Broker.connect(nats_url, "test")
    sends = StreamSpec("CAMINO_ORCHESTRATOR", (SendRequested,), "work", max_age_s=3600)
    await broker.declare([sends], [])
    with smtp_server() as relay:
        made = World(nats_url, broker, relay, tmp_path)

        async def on_settled(message: Any) -> None:
            made.settled.append(MessageSettled.FromString(message.data))

        await broker.client.subscribe(f"{MessageSettled.DESCRIPTOR.full_name}.>", cb=on_settled)
        try:
            yield made
        finally:
            made.kill()
            await broker.jetstream.delete_stream("CAMINO_ORCHESTRATOR")
            await broker.close()


@asynccontextmanager
async def stubs(address: str) -> AsyncIterator[tuple[Any, Any]]:
    channel = open_channel(address)
    try:
        yield message_service_pb2_grpc.MessageServiceStub(channel), templates_grpc.TemplateServiceStub(channel)
    finally:
        await channel.close()


async def publish_template(address: str) -> None:
    async with stubs(address) as (_, templates):
        request = templates_pb2.PublishTemplateRequest(workspace_id="demo", template_id="welcome")
        request.content.email.subject = "Hello"
        request.content.email.text = "Hello"
        await templates.PublishTemplate(request)


async def ended(messages: Any, send_id: str) -> message_pb2.Message:
    """The message, once it has come to an end."""

    async def probe() -> message_pb2.Message | None:
        request = message_service_pb2.GetMessageRequest(workspace_id="demo", send_id=send_id)
        message: message_pb2.Message = (await messages.GetMessage(request)).message
        return message if message.state in ENDS else None

    return await eventually(probe)


@pytest.mark.parametrize(
    ("crash_at", "state", "accepts"),
    [
        ("after-reserve", STATE.MESSAGE_STATE_SENT, 1),
        ("after-commit", STATE.MESSAGE_STATE_UNKNOWN, 0),
        ("after-accept", STATE.MESSAGE_STATE_UNKNOWN, 1),
        ("after-record", STATE.MESSAGE_STATE_SENT, 1),
    ],
)
async def test_killed_at(world: World, crash_at: str, state: int, accepts: int) -> None:
    send_id = str(uuid.uuid4())
    await publish_template(await world.start(crash_at))
    await world.request([send_id])
    await world.died()
    async with stubs(await world.start()) as (messages, _):
        message = await ended(messages, send_id)
        assert message.state == state
        assert world.accepts(send_id) == accepts

        async def settled() -> bool:
            return (send_id, state) in {(fact.send_id, fact.state) for fact in world.settled}

        await eventually(settled)

        # What the provider says later, or whoever asked it, ends the doubt.
        if state == STATE.MESSAGE_STATE_UNKNOWN:
            answer = message_service_pb2.RESOLUTION_SENT if accepts else message_service_pb2.RESOLUTION_SEND_AGAIN
            await messages.ResolveMessage(
                message_service_pb2.ResolveMessageRequest(
                    workspace_id="demo", send_id=send_id, resolution=answer, note="asked the relay"
                )
            )

            async def sent() -> bool:
                return (await ended(messages, send_id)).state == STATE.MESSAGE_STATE_SENT

            await eventually(sent)
        assert world.accepts(send_id) == 1

        # The broker has nothing left to deliver.
        async def acknowledged() -> bool:
            return (await world.broker.jetstream.stream_info("CAMINO_ORCHESTRATOR")).state.messages == 0

        await eventually(acknowledged)


async def test_killed_again_and_again_nothing_is_sent_twice_nor_lost(world: World) -> None:
    send_ids = [str(uuid.uuid4()) for _ in range(150)]
    await publish_template(await world.start())
    await world.request(send_ids)
    for share in (20, 60, 100):

        async def reached(share: int = share) -> bool:
            return len(world.relay.accepted) >= share

        await eventually(reached)
        world.kill()
        address = await world.start()
    async with stubs(address) as (messages, _):
        states = [(await ended(messages, send_id)).state for send_id in send_ids]
    for send_id, state in zip(send_ids, states, strict=True):
        accepts = world.accepts(send_id)
        assert accepts == 1 if state == STATE.MESSAGE_STATE_SENT else accepts <= 1
    # A crash leaves in doubt no more than what was being sent: four portions of a message each.
    assert states.count(STATE.MESSAGE_STATE_UNKNOWN) <= 3 * 4
