"""The services' users at a real NATS server, with the permissions that are shipped: what isn't granted is refused, and
seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from nats.aio.client import Client
from nats.js.api import ConsumerConfig
from structlog.testing import capture_logs

from deploy.permissions.files import files, users
from deploy.permissions.nats import password_variable, passwords
from services.chassis.broker import Broker
from services.chassis.clock import HOUR, SystemClock
from services.chassis.errors import BrokerUnavailable
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.permissions import Permissions
from services.chassis.tail import Tail
from services.segment.app import MEMBERSHIPS
from tests.servers import NatsServer, nats_server

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy/k8s/components/stores-inside/authorization.conf"
PARTITIONS = 8
USERS = {user.user: user for user in users(PARTITIONS)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    directory = tmp_path_factory.mktemp("nats")
    settings = directory / SHIPPED.name
    settings.write_text(SHIPPED.read_text())
    (directory / "passwords.conf").write_text(passwords({name: f"secret-of-{name}" for name in USERS}))
    with nats_server(settings) as started:
        yield started


def url(server: NatsServer, user: str) -> str:
    return server.url_of(user, f"secret-of-{user}")


@pytest.mark.parametrize("path", files(ROOT), ids=lambda path: path.name)
def test_what_is_shipped_is_what_the_services_declare(path: Path) -> None:
    assert path.read_text() == files(ROOT)[path], "run `make permissions`"


def test_the_chart_is_told_the_same(server: NatsServer) -> None:
    values = yaml.safe_load((ROOT / "deploy/k8s/components/stores-outside/nats-users.yaml").read_text())
    told = {user["user"]: user for user in values["config"]["merge"]["authorization"]["users"]}
    assert {
        name: Permissions(name, tuple(user["permissions"]["publish"]), tuple(user["permissions"]["subscribe"]))
        for name, user in told.items()
    } == USERS
    variables = {password_variable(name) for name in USERS}
    assert {user["password"] for user in told.values()} == {f"<< ${variable} >>" for variable in variables}
    assert values["container"]["env"].keys() == variables


def allows(pattern: str, subject: str) -> bool:
    """Whether a subject, of no wildcards, is one of a pattern's, as NATS has it."""
    ours, theirs = pattern.split("."), subject.split(".")
    if ours[-1] == ">":
        return len(theirs) >= len(ours) and theirs[: len(ours) - 1] == ours[:-1]
    return ours == theirs


def one_of(pattern: str) -> str:
    """A subject of the pattern's."""
    return pattern.replace(">", "x.1.y")


EVERYTHING = [
    *sorted({one_of(subject) for user in USERS.values() for subject in user.publish}),
    "camino.profile.v1.Another.x.1.y",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.DELETE.CAMINO_PROFILE",
    "$JS.API.STREAM.MSG.GET.CAMINO_PROFILE",
    "$JS.API.STREAM.MSG.DELETE.CAMINO_PROFILE",
    "$JS.API.DIRECT.GET.CAMINO_PROFILE",
    "$JS.API.CONSUMER.CREATE.CAMINO_PROFILE",
    "$JS.API.CONSUMER.CREATE.CAMINO_PROFILE.spy.>",
    "$JS.API.CONSUMER.DELETE.CAMINO_PROFILE.segment-changes-0",
    "$JS.API.CONSUMER.DURABLE.CREATE.CAMINO_ORCHESTRATOR.spy",
    "$JS.API.CONSUMER.MSG.NEXT.CAMINO_ORCHESTRATOR.spy",
    *(f"_INBOX_{name}.x.1.y" for name in USERS),
    "_INBOX.x.1.y",
]


class Refusals:
    """A user's connection, and the subjects that the server has refused to it, in lower case as the client has them."""

    def __init__(self, client: Client, subjects: list[str]) -> None:
        self.client = client
        self._subjects = subjects

    async def told(self) -> list[str]:
        await answered(self.client)
        return sorted(self._subjects)


async def answered(client: Client) -> None:
    """Return when the server has answered to all that was sent."""
    # Twice, as the client's first ping overtakes what it has not written yet.
    await client.flush()
    await client.flush()


@asynccontextmanager
async def connected(server: NatsServer, name: str) -> AsyncIterator[Refusals]:
    subjects: list[str] = []

    async def on_error(error: Exception) -> None:
        subjects.append(str(error).rpartition('to "')[2].rstrip('"').lower())

    client = await nats.connect(url(server, name), error_cb=on_error)
    try:
        yield Refusals(client, subjects)
    finally:
        await client.close()


@pytest.mark.parametrize("name", USERS)
async def test_a_user_publishes_what_is_granted_and_nothing_else(name: str, server: NatsServer) -> None:
    async with connected(server, name) as refusals:
        for subject in EVERYTHING:
            # Not what JetStream would carry out, so that one user's run changes nothing for the next.
            await refusals.client.publish(subject, b"not a request")
        refused = await refusals.told()
    granted = [subject for subject in EVERYTHING if any(allows(pattern, subject) for pattern in USERS[name].publish)]
    assert len(granted) == len(USERS[name].publish)
    assert refused == sorted(subject.lower() for subject in EVERYTHING if subject not in granted)


@pytest.mark.parametrize("name", USERS)
async def test_a_user_reads_its_own_replies_and_nothing_else(name: str, server: NatsServer) -> None:
    others = [f"_INBOX_{other}.>" for other in USERS if other != name]
    forbidden = [*others, "_INBOX.>", ">", "camino.>", "stored.>", "$JS.>", "$SYS.>"]
    async with connected(server, name) as refusals:
        for subject in (*USERS[name].subscribe, *forbidden):
            await refusals.client.subscribe(subject)
        assert await refusals.told() == sorted(subject.lower() for subject in forbidden)


@pytest.mark.parametrize("password", ["", "secret-of-segment"])
async def test_nobody_gets_in_without_the_password(password: str, server: NatsServer) -> None:
    address = server.url_of("profile", password) if password else server.url
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
        await nats.connect(address, allow_reconnect=False)


async def test_what_is_refused_is_logged_and_makes_the_broker_fail_its_probe(server: NatsServer) -> None:
    broker = await Broker.connect(url(server, "profile"), "profile")
    try:
        await broker.ping()
        with capture_logs() as logs:
            await broker.client.publish("camino.segment.v1.MembershipChanged.shop.1.ana")
            await answered(broker.client)
        [line] = logs
        assert line["log_level"] == "error"
        assert line["subject"].lower() == "camino.segment.v1.membershipchanged.shop.1.ana"
        with pytest.raises(BrokerUnavailable, match=r"(?i)publish to camino\.segment"):
            await broker.ping()
    finally:
        await broker.close()


async def test_a_service_reads_its_stream_from_any_place_on(server: NatsServer) -> None:
    migrating = await Broker.connect(url(server, "segment-migrate"), "segment-migrate")
    broker = await Broker.connect(url(server, "segment"), "segment")
    try:
        await migrating.declare([MEMBERSHIPS], [])
        tail = Tail(broker, MEMBERSHIPS, MembershipChanged, SystemClock())
        begin = await tail.newest()
        waiting = asyncio.create_task(tail.arrived("shop", begin, SystemClock().now() + HOUR))
        changed = Outgoing(subject_of(MembershipChanged, "shop", 1, "ana"), MembershipChanged(profile_id="ana"), "1")
        await Publisher(broker, "segment").publish([changed])
        await waiting
        [read] = (await tail.read("shop", begin, 10)).messages
        assert read.message.profile_id == "ana"
        await broker.ping()
    finally:
        await migrating.close()
        await broker.close()


async def test_a_service_cannot_make_a_consumer_to_read_along(server: NatsServer) -> None:
    broker = await Broker.connect(url(server, "profile"), "profile")
    try:
        spy: Any = ConsumerConfig(durable_name="spy")
        with capture_logs() as logs, pytest.raises(nats.errors.TimeoutError):
            await broker.jetstream.add_consumer("CAMINO_ORCHESTRATOR", spy, timeout=0.2)
        assert [line["log_level"] for line in logs] == ["error"]
    finally:
        await broker.close()
